import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { PortAddress } from '@holdfast/devices/serial/port/port-settings';
import { writeKeyFile } from '@holdfast/provisioning/pki/keys';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';

import t, { type Test } from 'tap';
import { siteCaKeyFile } from '../trust/site-ca-key.js';
import { checkCertificates } from './certificates.js';
import { checkClock } from './clock.js';
import { checkControlPlane } from './control-plane.js';
import { checkDisk, mountOf } from './disk.js';
import { checkDns } from './dns.js';
import { exitCodeOf, type Finding, findingsOf } from './finding.js';
import { checkGpioChips } from './gpio-chips.js';
import { checkListenPorts, systemPorts } from './listen-ports.js';
import { mayUse } from './may-use.js';
import { checkSerialPorts } from './serial-ports.js';
import { findUser } from './service-user.js';
import { checkSiteCaKey } from './site-ca-key.js';
import { openDirectly } from './tcp.js';

const listen = async <S extends Server>(t: Test, server: S): Promise<number> => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
};

const reach = async (
  port: number,
  root: Parameters<typeof checkControlPlane>[1]['root'],
): Promise<Finding | undefined> => {
  const services = [{ name: 'link', host: '127.0.0.1', port }];
  return (await checkControlPlane({ openTcp: openDirectly }, { services, root }))[0];
};

t.test(
  'every warning and failure says what to do, and the worst gives the exit code',
  async (t) => {
    const { ok, skipped, warning, failure } = findingsOf('dns');
    t.equal(exitCodeOf([ok('a'), skipped('b')]), 0);
    t.equal(exitCodeOf([ok('a'), warning('b', 'c')]), 1);
    t.equal(exitCodeOf([warning('b', 'c'), failure('d', 'e')]), 2);
  },
);

t.test('dns: a name that nobody knows is not a name server that is silent', async (t) => {
  const refuse = (code: string) => async () => {
    throw Object.assign(new Error(code), { code });
  };
  const answer = { resolve: async () => ['192.0.2.7'] };
  t.match(await checkDns(answer, ['cloud.example']), [{ severity: 'ok', text: /192\.0\.2\.7/ }]);
  t.match(await checkDns({ resolve: refuse('ENOTFOUND') }, ['cloud.example']), [
    { severity: 'failure', text: /nobody knows/, next: /DHCP/ },
  ]);
  t.match(await checkDns({ resolve: refuse('EAI_AGAIN') }, ['cloud.example']), [
    { severity: 'failure', text: /does not answer/ },
  ]);
  t.match(await checkDns({ resolve: refuse('never') }, ['192.0.2.1']), [{ severity: 'ok' }]);
});

t.test('the control plane is known by the root of the fleet', async (t) => {
  const fleet = await createTestFleet();
  const { tls } = await fleet.controlPlane();
  const port = await listen(t, createTlsServer(tls));
  const root = fleet.root.certificate;
  t.match(await reach(port, root), { severity: 'ok', text: /is the control plane/ });
  t.match(await reach(port, root.sha256), { severity: 'ok' });
  t.match(await reach(port, undefined), { severity: 'ok', text: /--code/ });
});

t.test('TLS that is opened on the way is called so, with who does it', async (t) => {
  const fleet = await createTestFleet();
  const folder = t.testdir();
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', cert, '-subj', '/O=Nosy Corp/CN=Nosy Web Gateway', '-days', '2'],
    ],
    { stdio: 'ignore' },
  );
  const port = await listen(
    t,
    createTlsServer({ key: await readFile(key), cert: await readFile(cert) }),
  );
  for (const root of [fleet.root.certificate, fleet.root.certificate.sha256]) {
    t.match(await reach(port, root), {
      severity: 'failure',
      text: /TLS is intercepted.*issued by Nosy Web Gateway, Nosy Corp/,
      next: /exempted from TLS inspection/,
      data: { issuer: 'Nosy Web Gateway, Nosy Corp' },
    });
  }
});

t.test('a captive portal is called so, and where it sends people', async (t) => {
  const fleet = await createTestFleet();
  const portal = createHttpServer((_, response) => {
    response.writeHead(302, { location: 'http://login.example/' }).end();
  });
  const port = await listen(t, portal);
  t.match(await reach(port, fleet.root.certificate), {
    severity: 'failure',
    text: /captive portal.*302 to http:\/\/login\.example\//,
    next: /log in to the portal/,
  });
});

t.test('a port that is closed, and one that cuts the handshake', async (t) => {
  const server = createServer();
  const closed = await listen(t, server);
  server.close();
  t.match(await reach(closed, undefined), {
    severity: 'failure',
    text: /refused/,
    next: /firewall/,
  });
  const cutter = await listen(
    t,
    createServer((socket) => socket.once('data', () => socket.destroy())),
  );
  t.match(await reach(cutter, undefined), { severity: 'failure', text: /not with TLS/ });
});

t.test('clock: below what is known, off, alone, without a battery', async (t) => {
  const time = (
    now: number,
    rtc: number | null,
    ntp: { authenticated: boolean; errorMs: number } | null,
  ) => ({
    read: () => ({ system: now, monotonic: 0 }),
    rtc: async () => rtc,
    ntp: async () => ntp,
  });
  const now = Date.UTC(2026, 5, 1);
  const askControlPlane = async () => now + 500;
  const well = { time: time(now, now, { authenticated: true, errorMs: 3 }), askControlPlane };
  t.equal(exitCodeOf(await checkClock(well, { floorMs: now - 1 })), 0);
  const in1970 = { time: time(5_000, null, null), askControlPlane };
  t.match(await checkClock(in1970, { floorMs: now }), [
    { severity: 'failure', text: /1970-01-01.*at least 2026-06-01/ },
    { severity: 'failure', text: /behind the control plane/ },
    { severity: 'warning', text: /NTP/ },
    { severity: 'skipped', text: /battery/ },
  ]);
});

t.test('ports: two settings that want one', async (t) => {
  const wanted = ['listen.mqttsPort', 'listen.httpsPort'].map((setting) => ({
    ...{ setting, host: '127.0.0.1', port: 18_883 },
  }));
  t.match(await checkListenPorts({ holderOf: async () => undefined }, { wanted, gatewayPid: 1 }), [
    { severity: 'failure', text: /httpsPort, too/ },
    { severity: 'failure' },
  ]);
});

t.test('ports: free, taken by whom, served by this gateway, not ours to have', async (t) => {
  const port = await listen(t, createServer());
  const wanted = (host: string, port: number) => [{ setting: 'listen.httpsPort', host, port }];
  const check = (host: string, port: number, gatewayPid?: number) =>
    checkListenPorts(systemPorts, { wanted: wanted(host, port), gatewayPid });
  t.match(await check('127.0.0.1', port), [
    {
      severity: 'failure',
      text: new RegExp(
        `listen\\.httpsPort: port ${port} is taken by .+ \\(process ${process.pid}\\)`,
      ),
      next: /listen\.httpsPort/,
    },
  ]);
  t.match(await check('127.0.0.1', port, process.pid), [{ severity: 'ok', text: /this gateway/ }]);
  t.match(await check('127.0.0.1', 0), [{ severity: 'ok' }]);
  t.match(await check('192.0.2.1', 8443), [{ severity: 'failure', text: /does not have/ }]);
});

t.test('serial: what is missing, wrong, busy, forbidden or named unsteadily', async (t) => {
  const folder = t.testdir({ file: '', sys: {} });
  const device = join(folder, 'sys/devices/usb1/1-2/1-2:1.0');
  await mkdir(join(device, 'ttyUSB0'), { recursive: true });
  await mkdir(join(folder, 'sys/class/tty/zero'), { recursive: true });
  await symlink(join(device, 'ttyUSB0'), join(folder, 'sys/class/tty/zero/device'));
  const attributes = { idVendor: '2341', idProduct: '0043', serial: 'A1' };
  for (const [name, text] of Object.entries(attributes)) {
    await writeFile(join(folder, 'sys/devices/usb1/1-2', name), `${text}\n`);
  }
  const deps = {
    holderOf: async () => undefined,
    terminalHolderOf: async () => null,
    isRunning: async () => false,
    roots: { sysfs: join(folder, 'sys'), dev: '/dev' },
  };
  const check = (address: PortAddress, more: object = {}) =>
    checkSerialPorts(
      { ...deps, ...more },
      { lines: [{ name: 'press-1', address }], user: undefined, gatewayPid: 1 },
    );
  t.match(await check({ path: join(folder, 'none') }), [
    { severity: 'failure', text: /not there/, next: /there are usb 2341:0043:A1/ },
    { severity: 'ok', text: /not used/ },
  ]);
  t.match(await check({ path: join(folder, 'file') }), [
    { severity: 'failure', text: /no serial port/ },
    {},
  ]);
  t.match(await check({ path: '/dev/null' }), [
    { severity: 'ok' },
    { data: { unused: ['usb 2341:0043:A1'] } },
  ]);
  t.match(await check({ path: '/dev/zero' }), [
    { severity: 'warning', text: /another port/, next: /usb: 2341:0043:A1/ },
  ]);
  t.match(await check({ usb: '2341:0043' }), [{ severity: 'ok' }]);
  t.match(await check({ usb: '2341:0044' }), [
    { severity: 'failure', text: /no port has the USB id/ },
    {},
  ]);
  const null0 = { path: '/dev/null' };
  t.match(await check(null0, { holderOf: async () => ({ pid: 7, name: 'minicom' }) }), [
    { severity: 'failure', text: /in use by minicom/ },
    {},
  ]);
  t.match(await check(null0, { holderOf: async () => ({ pid: 1, name: 'node' }) }), [
    { severity: 'ok' },
    {},
  ]);
  t.match(await check(null0, { terminalHolderOf: async () => ({ pid: 7, name: 'agetty' }) }), [
    { severity: 'failure', text: /terminal of agetty/, next: /serial-getty@null/ },
    {},
  ]);
  t.match(await check(null0, { isRunning: async () => true }), [
    {},
    { severity: 'warning', text: /ModemManager/, next: /systemctl disable/ },
    {},
  ]);
});

t.test('rights of the user of the service are read, not tried: root may everything', async (t) => {
  const folder = t.testdir({
    passwd: 'root:x:0:0::/root:/bin/sh\nholdfast:x:990:991::/var/lib/holdfast:/usr/sbin/nologin\n',
    group: 'dialout:x:20:anna,holdfast\ngpio:x:997:anna\n',
  });
  const files = { passwd: join(folder, 'passwd'), group: join(folder, 'group') };
  const user = await findUser('holdfast', files);
  t.same(user, { name: 'holdfast', uid: 990, gids: [991, 20] });
  t.equal(await findUser('nobody-here', files), undefined);
  if (user === undefined) return;
  t.ok(mayUse({ mode: 0o20660, uid: 0, gid: 20 }, user));
  t.notOk(mayUse({ mode: 0o20660, uid: 0, gid: 997 }, user));
  t.ok(mayUse({ mode: 0o20666, uid: 0, gid: 0 }, user));
});

t.test('gpio: chips that are wanted and there, or not', async (t) => {
  const root = t.testdir({ dev: { gpiochip0: '', gpiochip1: '' } });
  const backend = async () => ({ name: 'libgpiod 1.6', reason: '', next: '' }) as const;
  const line = { name: 'door', chip: 'gpiochip0', line: 4 };
  t.match(await checkGpioChips({ lines: [line], user: undefined, root, backend }), [
    { severity: 'ok', text: /gpiochip0 is there, for door/ },
    { severity: 'ok', data: { unused: ['gpiochip1'] } },
  ]);
  t.match(
    await checkGpioChips({
      lines: [{ ...line, chip: 'gpiochip7' }],
      user: undefined,
      root,
      backend,
    }),
    [
      {
        severity: 'failure',
        text: /gpiochip7 \(door\) is not there/,
        next: /gpiochip0, gpiochip1/,
      },
      {},
    ],
  );
  const next = 'sudo apt install gpiod';
  const none = async () => ({ name: null, reason: 'no tools', next });
  t.match(await checkGpioChips({ lines: [line], user: undefined, root, backend: none }), [
    { severity: 'failure', text: /no tools/, next: 'sudo apt install gpiod' },
    {},
    {},
  ]);
  const stranger = { name: 'holdfast', uid: 99_999, gids: [99_999] };
  t.match(
    await checkGpioChips({
      lines: [{ ...line, chip: 'pinctrl-bcm2711' }],
      user: undefined,
      ...{ root, labels: async () => [{ name: 'gpiochip0', label: 'pinctrl-bcm2711' }] },
      backend: async () => ({ name: 'onoff', reason: 'no tools', next }),
    }),
    [
      { severity: 'warning', text: /onoff/, next },
      { severity: 'ok', text: /gpiochip0 is there, for door/ },
    ],
    'a chip by its label',
  );
  await chmod(join(root, 'dev/gpiochip0'), 0o660);
  t.match(await checkGpioChips({ lines: [line], user: stranger, root, backend }), [
    { severity: 'failure', text: /may not be used by holdfast/, next: /usermod/ },
    {},
  ]);
});

t.test('disk: room, the time of a sync, a folder that is yet to be made', async (t) => {
  const folder = t.testdir();
  const findings = await checkDisk({ folder: join(folder, 'not/yet'), quotaBytes: 1_000 });
  t.match(findings.slice(0, 2), [{ text: /free/ }, { text: /safe after .* ms/ }]);
  const greedy = await checkDisk({ folder, quotaBytes: 1e18 });
  t.match(greedy[0], { severity: 'warning', next: /quotaBytes/ });
});

t.test('disk: which mount holds a folder', async (t) => {
  const mountinfo = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw',
    '30 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw',
    '31 22 8:2 / /var/lib ro,relatime - ext4 /dev/sda2 rw',
  ].join('\n');
  t.match(mountOf('/var/lib/holdfast', mountinfo), { source: '/dev/sda2', isReadOnly: true });
  t.match(mountOf('/var/library', mountinfo), { path: '/' });
  t.match(mountOf('/run', mountinfo), { type: 'tmpfs' });
});

const isRoot = process.geteuid?.() === 0;
t.test(
  'disk: a full one and one in memory',
  { skip: isRoot ? false : 'mounting needs root' },
  async (t) => {
    const folder = join(t.testdir(), 'small');
    await mkdir(folder);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], {
        stdio: 'ignore',
      });
    } catch {
      // A root without the right to mount, as in a container.
      t.pass();
      return;
    }
    try {
      await writeFile(join(folder, 'fill'), Buffer.alloc(64 * 1_024)).catch(() => undefined);
      const findings = await checkDisk({ folder, quotaBytes: 0 });
      t.match(findings, [
        { severity: 'failure', text: / free/ },
        { severity: 'failure', text: /full/ },
        { severity: 'failure', text: /lies in memory/ },
        { severity: 'skipped' },
      ]);
      await rm(join(folder, 'fill'));
      execFileSync('mount', ['-o', 'remount,ro', folder]);
      t.match((await checkDisk({ folder, quotaBytes: 0 }))[1], {
        severity: 'failure',
        text: /read-only/,
      });
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
  },
);

t.test('certificates: their age, and keys that others may read', async (t) => {
  const fleet = await createTestFleet();
  const { certificate } = await fleet.gateway('gw-1');
  const dataDir = t.testdir({ 'gateway.key.pem': '', 'site-ca.key.pem': '' });
  await chmod(join(dataDir, 'gateway.key.pem'), 0o600);
  await chmod(join(dataDir, 'site-ca.key.pem'), 0o600);
  const record = {
    gateway_certificate: certificate.pem,
    site_ca_certificate: fleet.siteCa.certificate.pem,
    root_certificate: fleet.root.certificate.pem,
  };
  const at = (now: number) => checkCertificates({ dataDir, record, now });
  const now = certificate.notBefore + 1_000;
  t.equal(exitCodeOf(await at(now)), 0);
  t.match((await at(now)).at(-1), { severity: 'ok', text: /site CA's is one of them/ });
  const inToken = await checkCertificates({ dataDir, record, now, tokenKey: 'site-ca' });
  t.match(inToken.at(-1), { text: /in hardware, as "site-ca"/ });
  t.match((await at(certificate.notAfter - 1_000))[0], {
    severity: 'warning',
    next: /renewed over the link/,
  });
  t.match((await at(certificate.notAfter + 1_000))[0], {
    severity: 'failure',
    text: /has expired/,
  });
  await chmod(join(dataDir, 'site-ca.key.pem'), 0o644);
  t.match((await at(now)).at(-1), {
    severity: 'failure',
    text: /site-ca\.key\.pem/,
    next: /chmod 600/,
  });
});

t.test('site CA key: in a file that is its own, or in a token that is not there', async (t) => {
  const dataDirectory = t.testdir();
  const fleet = await createTestFleet();
  const { certificate, key } = fleet.siteCa;
  const inFile = { dataDirectory, token: undefined };
  t.match(await checkSiteCaKey(inFile, certificate), [{ severity: 'failure', next: /backup/ }]);
  await writeKeyFile(join(dataDirectory, siteCaKeyFile), key);
  t.match(await checkSiteCaKey(inFile, certificate), [{ severity: 'ok', text: /in a file/ }]);
  const other = await fleet.otherSite('site-b');
  t.match(await checkSiteCaKey(inFile, other.siteCa.certificate), [{ severity: 'failure' }]);
  const token = {
    module: join(dataDirectory, 'none.so'),
    token: 'x',
    pinFile: '/dev/null',
    key: 'k',
  };
  t.match(await checkSiteCaKey({ dataDirectory, token }, certificate), [
    { severity: 'failure', text: /token "x"/, next: /plugged in/ },
  ]);
});
