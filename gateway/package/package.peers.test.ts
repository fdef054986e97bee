import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild, startChild } from '@holdfast/provisioning/program/children';
import { bins } from '@holdfast/provisioning/quickstart/programs';
import t from 'tap';
import { architectures } from './architecture.js';
import { buildDeb } from './build-deb.js';
import { installed } from './installed.js';
import { Journey } from './journey.js';
import { openTestMachine, type Result } from './test-machine.js';

t.setTimeout(600_000);

const top = resolve(fileURLToPath(new URL('../../..', import.meta.url)));
const amd64 = architectures.amd64;

const build = (out: string, version: string) => {
  if (amd64 === undefined) throw new Error('no amd64');
  const cache = join(top, 'node_modules/.cache/holdfast-package');
  return buildDeb({ architecture: amd64, top, cache, out, version, compression: 'gzip' });
};

/** A code of a kind, in what a program said. */
const codeIn = (text: string, kind: 'hfg1' | 'hfd1' | 'hfl1'): string => {
  const found = new RegExp(`\\b${kind}-[\\w-]+`, 'i').exec(text)?.[0];
  if (found === undefined) throw new Error(`there is no ${kind} code in: ${text}`);
  return found;
};

t.test('from the package to an enrolled device, an upgrade, and away again', async (t) => {
  const out = await mkdtemp(join(tmpdir(), 'holdfast-deb-'));
  const first = build(out, '0.1.0');
  const second = build(out, '0.1.1');
  t.comment(`package: ${first.sizeBytes} bytes, installed ${first.installedBytes} bytes`);
  const machine = await openTestMachine();
  const wrapper = machine.onItsNetwork;
  const loginFile = join(out, 'login');
  const cloud = await startChild({
    bin: bins.cloud,
    args: ['--data', join(out, 'cloud'), '--listen.host=127.0.0.1', '--login-file', loginFile],
    wrapper,
  });
  t.teardown(async () => {
    await cloud.kill();
    await machine.close();
    await rm(out, { recursive: true, force: true });
  });
  /** A program of ours beside the gateway: the admin's, or the device. */
  const beside = async (bin: string, ...args: string[]): Promise<Result> => {
    const { code, stdout, stderr } = await runChild({ bin, args, wrapper, timeoutMs: 60_000 });
    return { code: code ?? 1, stdout, stderr };
  };
  const admin = (...args: string[]) => beside(bins.holdfast, '--data', join(out, 'cli'), ...args);
  await admin('login', (await readFile(loginFile, 'utf8')).trim());
  const gatewayCode = codeIn((await admin('site', 'create', 'cellar')).stdout, 'hfg1');
  await machine.take(first.path);
  await machine.take(second.path);

  const journey = new Journey();
  const deb = '/root/holdfast-gateway_0.1.0_amd64.deb';
  const greeting = await journey.type('sudo dpkg -i holdfast-gateway_0.1.0_amd64.deb', () =>
    machine.run('dpkg', '-i', deb),
  );
  t.match(greeting, /sudo holdfast gateway enroll CODE/);
  const looked = await journey.type(
    `sudo holdfast gateway doctor --code ${gatewayCode}`,
    async () => {
      const result = await machine.run('holdfast', 'gateway', 'doctor', '--code', gatewayCode);
      // Warnings are no failure: it is not enrolled yet, and this machine has no NTP.
      return { ...result, code: result.code === 1 ? 0 : result.code };
    },
  );
  t.match(looked, /admin .* answers and is the control plane/);
  const tried = await machine.run(
    'holdfast',
    '--json',
    'gateway',
    'enroll',
    gatewayCode,
    '--dry-run',
  );
  t.match(JSON.parse(tried.stdout), { enrolled: false, root_sha256: /^[0-9a-f]{64}$/ });
  const enrolled = await journey.type(`sudo holdfast gateway enroll ${gatewayCode}`, () =>
    machine.run('holdfast', 'gateway', 'enroll', gatewayCode),
  );
  t.match(enrolled, /sudo systemctl start holdfast-gateway/, 'where no systemd runs it says how');
  // systemd would have started it with the enrolment; here its command is run as its user.
  const unit = (await machine.run('cat', '/lib/systemd/system/holdfast-gateway.service')).stdout;
  const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
  const service = await machine.serve(installed.user, ...command);
  t.match(service.ports, { mqtts: 8883, https: 8443, console: 8444 });
  const login = codeIn(enrolled, 'hfl1');
  await journey.type(`holdfast login ${login}`, () => machine.run('holdfast', 'login', login));
  const claimed = await journey.type('holdfast --gateway device claim press-1', () =>
    machine.run('holdfast', '--gateway', 'device', 'claim', 'press-1'),
  );
  const deviceCode = codeIn(claimed, 'hfd1');
  await journey.type(`holdfast-device enroll ${deviceCode}`, () =>
    beside(bins.device, 'enroll', deviceCode, '--data', join(out, 'device')),
  );
  const figures = journey.arrive();
  t.comment(
    `from package to first enrolled device: ${figures.commands} commands, ${figures.keystrokes} keystrokes (${figures.keystrokesWithPaste} with codes pasted), ${figures.seconds} s`,
  );
  t.ok(figures.commands <= 6, `${figures.commands} commands`);
  t.match((await machine.run('holdfast', '--gateway', 'device', 'list')).stdout, /press-1/);

  const own = await machine.run(`${installed.lib}/bin/node`, '--version');
  t.equal(own.stdout.trim(), 'v20.20.2', 'it carries its own Node');
  const owner = await machine.run('find', installed.dataDir, '!', '-user', installed.user);
  t.equal(owner.stdout, '', 'everything it keeps is its own');
  t.equal(await service.stop(), 'orderly');

  const doctored = await machine.run('holdfast', '--json', 'gateway', 'doctor');
  t.match(
    JSON.parse(doctored.stdout).findings.find((f: { check: string }) => f.check === 'enrolment'),
    {
      severity: 'ok',
      text: /site cellar/,
    },
  );
  t.equal((await machine.run('holdfast', 'site', 'apply')).code, 0, 'the site file it came with');

  const upgraded = await machine.run('dpkg', '-i', '/root/holdfast-gateway_0.1.1_amd64.deb');
  t.equal(upgraded.code, 0, upgraded.stderr);
  const again = await machine.serve(installed.user, ...command);
  t.match(
    (await machine.run('holdfast', '--gateway', 'device', 'list')).stdout,
    /press-1/,
    'an upgrade keeps the data, and the login',
  );
  t.equal(await again.stop(), 'orderly');

  t.equal((await machine.run('dpkg', '--remove', 'holdfast-gateway')).code, 0);
  t.equal((await machine.run('test', '-e', `${installed.dataDir}/identity.json`)).code, 0, 'kept');
  t.not((await machine.run('test', '-e', installed.lib)).code, 0, 'the programs are gone');
  t.equal((await machine.run('dpkg', '--purge', 'holdfast-gateway')).code, 0);
  t.not((await machine.run('test', '-e', installed.dataDir)).code, 0, 'and now the data');
  t.not((await machine.run('getent', 'passwd', installed.user)).code, 0, 'and the user');
});
