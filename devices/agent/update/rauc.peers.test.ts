import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t, { type Test } from 'tap';
import { silentLog as log } from '../log.js';
import { CopiesInstaller } from './copies-installer.js';
import type { Machine } from './machine.js';
import { openUpdateRecord, openUpdater } from './open-updater.js';
import { Rauc } from './rauc.js';
import { makeDirectory, makeJob, serveFirmware } from './update-fixture.js';
import type { UpdateReport } from './updater.js';

// Debian's RAUC with slots that are files, a boot loader that is a script, and a bus of its own.
t.setTimeout(240_000);

const run = promisify(execFile);
const final: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

/** RAUC's custom boot loader interface; `primary` and the states are files. */
const backend = `#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  get-primary) cat primary ;;
  set-primary) echo "$2" > primary ;;
  get-state) cat "state.$2" 2>/dev/null || echo good ;;
  set-state) echo "$3" > "state.$2" ;;
esac
`;

const busConfig = (socket: string) => `<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=${socket}</listen>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/></policy>
</busconfig>`;

class RaucMachine implements Machine {
  readonly #folder: string;
  readonly #bus: ChildProcess;
  #service: ChildProcess | null = null;
  #boots = 0;
  restarted: () => void = () => undefined;

  private constructor(folder: string, bus: ChildProcess) {
    this.#folder = folder;
    this.#bus = bus;
  }

  static async open(folder: string): Promise<RaucMachine> {
    await mkdir(folder, { recursive: true });
    const path = (name: string) => join(folder, name);
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-days', '30'],
      ...['-keyout', path('key.pem'), '-out', path('cert.pem')],
    ]);
    await writeFile(path('backend'), backend);
    await chmod(path('backend'), 0o755);
    await writeFile(path('primary'), 'A\n');
    for (const copy of ['rootfs0', 'rootfs1']) {
      await writeFile(path(copy), '');
      await truncate(path(copy), 1 << 20);
    }
    await mkdir(path('mnt'));
    await writeFile(
      path('system.conf'),
      [
        '[system]\ncompatible=pi\nbootloader=custom\nbundle-formats=plain',
        `statusfile=${path('status')}\nmountprefix=${path('mnt')}`,
        `[keyring]\npath=${path('cert.pem')}`,
        `[handlers]\nbootloader-custom-backend=${path('backend')}`,
        `[slot.rootfs.0]\ndevice=${path('rootfs0')}\ntype=raw\nbootname=A`,
        `[slot.rootfs.1]\ndevice=${path('rootfs1')}\ntype=raw\nbootname=B\n`,
      ].join('\n'),
    );
    await writeFile(path('bus.conf'), busConfig(path('bus')));
    const bus = spawn(
      'dbus-daemon',
      [`--config-file=${path('bus.conf')}`, '--nofork', '--print-address'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(bus.stdout, 'data');
    const machine = new RaucMachine(folder, bus);
    await machine.#boot();
    return machine;
  }

  get busAddress(): string {
    return `unix:path=${join(this.#folder, 'bus')}`;
  }

  async bootId(): Promise<string> {
    return `boot-${String(this.#boots)}`;
  }

  /** The boot loader starts what is primary; the process of the agent would end here. */
  readonly restart = async (signal: AbortSignal): Promise<never> => {
    await this.#boot();
    this.restarted();
    await once(signal, 'abort');
    throw signal.reason;
  };

  async bundle(version: string, content: string): Promise<string> {
    const folder = join(this.#folder, `content-${version}`);
    await mkdir(folder);
    await writeFile(join(folder, 'rootfs.img'), content.repeat(1_000));
    await writeFile(
      join(folder, 'manifest.raucm'),
      `[update]\ncompatible=pi\nversion=${version}\n[image.rootfs]\nfilename=rootfs.img\n`,
    );
    const bundle = `${folder}.raucb`;
    const signed = [
      '--cert',
      join(this.#folder, 'cert.pem'),
      '--key',
      join(this.#folder, 'key.pem'),
    ];
    await run('rauc', [...signed, 'bundle', folder, bundle]);
    return bundle;
  }

  async look() {
    const read = async (name: string) =>
      (await readFile(join(this.#folder, name), 'utf8').catch(() => '')).trim();
    return { primary: await read('primary'), a: await read('state.A'), b: await read('state.B') };
  }

  async beginsWith(copy: 'rootfs0' | 'rootfs1', content: string): Promise<boolean> {
    return (await readFile(join(this.#folder, copy)))
      .subarray(0, 20)
      .toString()
      .startsWith(content);
  }

  async close(): Promise<void> {
    await this.#end();
    this.#bus.kill();
    await once(this.#bus, 'exit');
  }

  async #boot(): Promise<void> {
    await this.#end();
    this.#boots += 1;
    const primary = (await readFile(join(this.#folder, 'primary'), 'utf8')).trim();
    const conf = `--conf=${join(this.#folder, 'system.conf')}`;
    this.#service = spawn('rauc', [conf, `--override-boot-slot=${primary}`, 'service'], {
      stdio: 'ignore',
      env: { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: this.busAddress },
    });
    const rauc = new Rauc({ busAddress: this.busAddress });
    await waitUntil(
      'RAUC answers',
      () =>
        rauc.booted().then(
          () => true,
          () => false,
        ),
      {
        everyMs: 50,
      },
    );
  }

  async #end(): Promise<void> {
    const service = this.#service;
    this.#service = null;
    if (service === null) return;
    service.kill();
    await once(service, 'exit');
  }
}

const setUp = async (t: Test) => {
  const directory = await makeDirectory();
  const machine = await RaucMachine.open(join(directory.path, 'machine'));
  const reports: UpdateReport[] = [];
  let healthCommand = 'true';
  const offer = async (bundle: string, version: string): Promise<UpdateReport> => {
    const server = await serveFirmware([bundle]);
    const device = join(directory.path, 'device');
    await mkdir(device, { recursive: true });
    let settle: (report: UpdateReport) => void = () => undefined;
    const settled = new Promise<UpdateReport>((resolve) => {
      settle = resolve;
    });
    const open = async () => {
      const parts = {
        ...{ log, onLaunch: () => undefined, gateway: { baseUrl: () => server.baseUrl } },
        check: async () => ({ installer: 'rauc', securityCounter: 0, steps: [] }),
        reporter: {
          ask: () => undefined,
          report: (_: unknown, report: UpdateReport) => {
            reports.push(report);
            if (final.includes(report.status)) settle(report);
          },
        },
      };
      const rauc = new Rauc({ busAddress: machine.busAddress, pollMs: 20 });
      const opened = await openUpdater(
        parts,
        await openUpdateRecord(device, parts),
        (tell) =>
          CopiesInstaller.open(
            { name: 'rauc', boot: rauc, writer: rauc, machine, tell, log },
            { directory: device, healthCommand, deadlineMs: 2_000, maxStarts: 3 },
          ),
        { directory: device },
      );
      await opened.updater.open();
      return opened;
    };
    let opened = open();
    machine.restarted = () => {
      opened = opened.then(async (before) => {
        await before.close();
        return open();
      });
    };
    const job = await makeJob(`job-${version}`, version, bundle);
    await (await opened).updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
    const report = await settled;
    const last = await opened;
    await last.updater.dispatch({ type: 'answered', jobId: job.id });
    await last.close();
    await server.close();
    return report;
  };
  t.teardown(async () => {
    await machine.close();
    await directory.remove();
  });
  return {
    machine,
    reports,
    offer,
    health: (command: string) => {
      healthCommand = command;
    },
  };
};

t.test(
  'updates a system through RAUC, goes back through it, and refuses what it refuses',
  async (t) => {
    const { machine, reports, offer, health } = await setUp(t);

    const two = await machine.bundle('2.0.0', 'two');
    t.match(await offer(two, '2.0.0'), { status: 'succeeded', version: '2.0.0' });
    t.match(await machine.look(), { primary: 'B', b: 'good' });
    t.ok(await machine.beginsWith('rootfs1', 'two'), 'it is in the other copy');
    const { step } =
      reports.find((said) => said.status === 'installing' && said.progress === 100) ?? {};
    t.equal(step, 'write', 'its progress was told');

    health('false');
    const three = await machine.bundle('3.0.0', 'three');
    t.match(await offer(three, '3.0.0'), { status: 'rolled_back', version: '2.0.0' });
    t.match(await machine.look(), { primary: 'B', a: 'bad', b: 'good' });
    t.ok(await machine.beginsWith('rootfs0', 'three'), 'it was tried');

    health('true');
    t.match(await offer(three, '3.0.1'), {
      status: 'failed',
      error: /UPDATE_MANIFEST_INVALID.*holds version 3\.0\.0, not 3\.0\.1/,
    });
    const four = await machine.bundle('4.0.0', 'four');
    const bytes = await readFile(four);
    bytes[200] = (bytes[200] ?? 0) ^ 0xff;
    await cp(four, `${four}.changed`);
    await writeFile(`${four}.changed`, bytes);
    t.match(await offer(`${four}.changed`, '4.0.0'), { status: 'failed', version: '2.0.0' });
    t.match(await machine.look(), { primary: 'B' });

    t.match(await offer(four, '4.0.0'), { status: 'succeeded', version: '4.0.0' });
    t.match(await machine.look(), { primary: 'A', a: 'good' });
  },
);
