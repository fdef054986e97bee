import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import t, { type Test } from 'tap';
import { silentLog as log } from '../log.js';
import { openBootHandler } from './boot-handler.js';
import { CopiesInstaller } from './copies-installer.js';
import type { Machine } from './machine.js';
import { openUpdateRecord, openUpdater } from './open-updater.js';
import { openSwupdate } from './swupdate.js';
import { makeDirectory, makeJob, serveFirmware } from './update-fixture.js';
import type { UpdateReport } from './updater.js';

// Debian's SWUpdate writes raw images onto files; the boot loader is a script.
t.setTimeout(240_000);

const run = promisify(execFile);
const final: readonly string[] = ['succeeded', 'failed', 'rolled_back'];
const copies = { a: 'copy1', b: 'copy2' } as const;

/** A boot handler as README.md describes it; what a boot loader would keep in its environment are files. */
const handler = `#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  booted) cat booted ;;
  activate) echo "$2" > next ;;
  confirm) echo "$2" > confirmed ;;
  reject) echo "$2" > rejected ;;
  *) exit 2 ;;
esac
`;

const setUp = async (t: Test) => {
  const directory = await makeDirectory();
  const path = (name: string) => join(directory.path, name);
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-days', '30'],
    ...['-addext', 'extendedKeyUsage=emailProtection'],
    ...['-keyout', path('key.pem'), '-out', path('cert.pem')],
  ]);
  await writeFile(path('handler'), handler);
  await chmod(path('handler'), 0o755);
  for (const copy of Object.values(copies)) {
    await writeFile(path(copy), '');
    await truncate(path(copy), 1 << 20);
  }
  await writeFile(path('copy1'), 'version 1.0.0\n');
  await writeFile(path('booted'), 'copy1\n');
  await writeFile(path('next'), 'copy1\n');
  t.teardown(() => directory.remove());

  let boots = 1;
  let restarted: () => void = () => undefined;
  const machine: Machine = {
    bootId: async () => `boot-${String(boots)}`,
    restart: async (signal) => {
      boots += 1;
      await writeFile(path('booted'), await readFile(path('next')));
      restarted();
      await once(signal, 'abort');
      throw signal.reason;
    },
  };

  /** A `.swu` with one raw image for either copy. */
  const image = async (version: string, hardware = '1.0'): Promise<string> => {
    const folder = path(`content-${version}-${hardware}`);
    await mkdir(folder);
    const payload = join(folder, 'rootfs.img');
    await writeFile(payload, `version ${version}\n${'x'.repeat(400_000)}`);
    const sha256 = await digestOf(payload, AbortSignal.timeout(10_000));
    const part = (copy: string) =>
      `${copy}: { images: ( { filename = "rootfs.img"; type = "raw"; device = "${path(copy)}"; installed-directly = true; sha256 = "${sha256}"; } ); };`;
    await writeFile(
      join(folder, 'sw-description'),
      `software = { version = "${version}"; hardware-compatibility: [ "${hardware}" ]; stable = { ${part('copy1')} ${part('copy2')} }; }\n`,
    );
    await run(
      'openssl',
      [
        ...['cms', '-sign', '-in', 'sw-description', '-out', 'sw-description.sig', '-binary'],
        ...[
          '-signer',
          path('cert.pem'),
          '-inkey',
          path('key.pem'),
          '-outform',
          'DER',
          '-nosmimecap',
        ],
      ],
      { cwd: folder },
    );
    const swu = `${folder}.swu`;
    const cpio = spawn('cpio', ['-o', '-H', 'crc', '-F', swu, '--quiet'], {
      cwd: folder,
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    cpio.stdin.end('sw-description\nsw-description.sig\nrootfs.img\n');
    await once(cpio, 'exit');
    return swu;
  };

  const reports: UpdateReport[] = [];
  const offer = async (swu: string, version: string, healthCommand: string) => {
    const server = await serveFirmware([swu]);
    const device = path('device');
    await mkdir(device, { recursive: true });
    let settle: (report: UpdateReport) => void = () => undefined;
    const settled = new Promise<UpdateReport>((resolve) => {
      settle = resolve;
    });
    const open = async () => {
      const parts = {
        ...{ log, onLaunch: () => undefined, gateway: { baseUrl: () => server.baseUrl } },
        check: async () => ({ installer: 'swupdate', securityCounter: 0, steps: [] }),
        reporter: {
          ask: () => undefined,
          report: (_: unknown, report: UpdateReport) => {
            reports.push(report);
            if (final.includes(report.status)) settle(report);
          },
        },
      };
      const opened = await openUpdater(
        parts,
        await openUpdateRecord(device, parts),
        (tell) =>
          CopiesInstaller.open(
            {
              ...{ name: 'swupdate', machine, tell, log },
              boot: openBootHandler({ program: path('handler'), copies }),
              writer: openSwupdate({
                selections: { a: 'stable,copy1', b: 'stable,copy2' },
                ...{ keyFile: path('cert.pem'), hardware: 'pi:1.0', owner: device },
                versionCommand: `cd '${directory.path}' && head -1 "$(cat booted)" | tr -d '\\0' | cut -d' ' -f2`,
              }),
            },
            { directory: device, healthCommand, deadlineMs: 2_000, maxStarts: 3 },
          ),
        { directory: device },
      );
      await opened.updater.open();
      return opened;
    };
    let opened = open();
    restarted = () => {
      opened = opened.then(async (before) => {
        await before.close();
        return open();
      });
    };
    const job = await makeJob(`job-${version}`, version, swu);
    await (await opened).updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
    const report = await settled;
    const last = await opened;
    await last.updater.dispatch({ type: 'answered', jobId: job.id });
    await last.close();
    await server.close();
    return report;
  };
  const look = async (name: string) => (await readFile(path(name), 'utf8')).split('\n')[0];
  return { image, offer, look, reports };
};

t.test('updates a system through SWUpdate, goes back, and refuses what it refuses', async (t) => {
  const { image, offer, look, reports } = await setUp(t);
  t.match(await offer(await image('2.0.0'), '2.0.0', 'true'), {
    status: 'succeeded',
    version: '2.0.0',
  });
  t.equal(await look('copy2'), 'version 2.0.0');
  t.same([await look('booted'), await look('confirmed')], ['copy2', 'copy2']);
  const done = reports.find((said) => said.status === 'installing' && said.progress === 100);
  t.equal(done?.step, 'write', 'its progress was told');

  t.match(await offer(await image('3.0.0'), '3.0.0', 'false'), {
    status: 'rolled_back',
    version: '2.0.0',
  });
  t.same([await look('booted'), await look('rejected')], ['copy2', 'copy1']);

  t.match(await offer(await image('4.0.0', '2.0'), '4.0.0', 'true'), {
    status: 'failed',
    error: /SW not compatible with hardware/,
  });
  const five = await image('5.0.0');
  const bytes = await readFile(five);
  bytes[bytes.length - 200_000] = 0;
  await writeFile(five, bytes);
  t.match(await offer(five, '5.0.0', 'true'), { status: 'failed', error: /HASH mismatch/i });
  t.equal(await look('booted'), 'copy2', 'what runs was never touched');
});
