/**
 * For tests: for each installer a device that has 1.0.0, images that are good, sick or do not start, and the world around them, so that
 * one set of tests holds for all of them. What is simulated here of rauc and swupdate is the tool and the boot loader; the peers' tests
 * have the real ones.
 */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { create } from 'tar';
import { flashWorld } from '../attached/flash-world.js';
import { silentLog } from '../log.js';
import { CopiesInstaller } from './copies-installer.js';
import type { ReleaseCheck } from './image-platform.js';
import { installInitialApp } from './initial-app.js';
import type { InstallerName, TellUpdate } from './installer.js';
import type { Machine } from './machine.js';
import { type OpenedUpdater, openUpdateRecord, openUpdater } from './open-updater.js';
import { ScriptInstaller } from './script-installer.js';
import { SimulatedMachine, systemImage } from './simulated-machine.js';
import { openSlotUpdater } from './slot-updater.js';
import { type AppFixture, makeArchive, stays } from './update-fixture.js';
import type { Release, UpdateState } from './update-state.js';
import type { UpdatePlatform, UpdateReporter } from './updater.js';

export interface WorldOptions {
  readonly directory: string;
  readonly baseUrl: string;
  readonly reporter: UpdateReporter;
  readonly check?: ReleaseCheck;
  readonly wrapRecord?: (record: StoredRecord<UpdateState>) => StoredRecord<UpdateState>;
  readonly wrapPlatform?: (platform: UpdatePlatform) => UpdatePlatform;
  /** Of the trial, where the image does not say it. */
  readonly deadlineMs?: number;
  /** Called between the writes of a simulated tool. */
  readonly step?: () => void;
  /** The machine has restarted: what follows happens in another process. */
  readonly restarted: () => void;
}

export type ImageKind = 'good' | 'sick' | 'dead';

export interface World {
  readonly name: InstallerName;
  readonly release: Release;
  /** Makes an image of 2.0.0 in a folder, and says where it stands. */
  image(folder: string, kind: ImageKind): Promise<string>;
  /** Makes the folder of a device that runs 1.0.0. */
  make(directory: string): Promise<void>;
  open(options: WorldOptions): Promise<OpenedUpdater>;
  /** A power cut: what is committed stays, and the machine starts anew. */
  powerCycle(directory: string): Promise<void>;
  /** What really runs, and whether it ever ran something that was not whole. */
  look(directory: string): Promise<{ readonly version: string; readonly ranHalf: boolean }>;
}

const trialOf = ({ deadlineMs = 20_000 }: WorldOptions) => ({ deadlineMs, maxStarts: 4 });

const plain = (installer: InstallerName): Release => ({ installer, securityCounter: 1, steps: [] });

const slots: World = {
  name: 'slots',
  release: plain('slots'),
  image: (folder, kind) => {
    const scripts: Record<ImageKind, AppFixture> = {
      good: { version: '2.0.0', script: stays },
      sick: { version: '2.0.0', script: 'setInterval(() => {}, 1000)', deadlineS: 0.5 },
      dead: { version: '2.0.0', script: 'process.exit(1)' },
    };
    return makeArchive(folder, scripts[kind]);
  },
  make: async (directory) => {
    await mkdir(directory, { recursive: true });
    const archive = await makeArchive(join(directory, '..'), { version: '1.0.0' });
    const record = await openUpdateRecord(directory, { log: silentLog });
    await installInitialApp(record, directory, archive, AbortSignal.timeout(20_000));
  },
  open: ({ directory, baseUrl, check = async () => plain('slots'), ...parts }) =>
    openSlotUpdater(
      {
        log: silentLog,
        onLaunch: () => undefined,
        gateway: { baseUrl: () => baseUrl },
        check,
        ...parts,
      },
      { directory, signal: AbortSignal.timeout(60_000) },
    ),
  powerCycle: async () => undefined,
  look: async (directory) => {
    const state = JSON.parse(await readFile(join(directory, 'update.json'), 'utf8')) as UpdateState;
    const path = join(directory, 'slots', state.active ?? '', 'holdfast-app.json');
    const manifest = JSON.parse(await readFile(path, 'utf8')) as { version: string };
    return { version: manifest.version, ranHalf: false };
  },
};

const simulated = (directory: string, name: InstallerName) =>
  // RAUC goes over to what it has written by itself.
  new SimulatedMachine(directory, { activates: name === 'rauc' });

const copies = (name: 'rauc' | 'swupdate'): World => ({
  name,
  release: plain(name),
  image: async (folder, kind) => {
    await mkdir(folder, { recursive: true });
    const path = join(folder, `${kind}.img`);
    const isHealthy = kind === 'good';
    await writeFile(
      path,
      systemImage({ version: '2.0.0', isHealthy, isBootable: kind !== 'dead' }),
    );
    return path;
  },
  make: async (directory) => {
    await mkdir(directory, { recursive: true });
    await simulated(directory, name).make(systemImage({ version: '1.0.0' }));
  },
  open: async (options) => {
    const machine = simulated(options.directory, name);
    return openSystem(options, plain(name), (tell) =>
      CopiesInstaller.open(
        {
          ...{ name, tell, log: silentLog },
          boot: machine.bootControl(),
          writer: machine.imageWriter(options.step),
          machine: machineOf(machine, options),
        },
        { directory: options.directory, healthCommand: machine.healthCommand, ...trialOf(options) },
      ),
    );
  },
  powerCycle: (directory) => simulated(directory, name).boot(),
  look: async (directory) => {
    const machine = simulated(directory, name);
    const { ranHalf } = await machine.state();
    return { version: await machine.version(), ranHalf: ranHalf.length > 0 };
  },
});

const machineOf = (machine: SimulatedMachine, { restarted }: WorldOptions): Machine => ({
  bootId: () => machine.bootId(),
  restart: async (signal) => {
    await machine.boot();
    restarted();
    return new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  },
});

const openSystem = async (
  { directory, baseUrl, check, reporter, ...wraps }: WorldOptions,
  release: Release,
  openInstaller: (tell: TellUpdate) => Promise<CopiesInstaller | ScriptInstaller>,
): Promise<OpenedUpdater> => {
  const parts = {
    ...{
      reporter,
      log: silentLog,
      onLaunch: () => undefined,
      check: check ?? (async () => release),
    },
    gateway: { baseUrl: () => baseUrl },
    ...wraps,
  };
  const record = await openUpdateRecord(directory, parts);
  return openUpdater(parts, record, openInstaller, { directory });
};

/** Idempotent, each of them: cut off anywhere and run again, it comes to the same. */
const scripts: Readonly<Record<string, string>> = {
  'keep.sh':
    'cd "$SYSTEM" && { [ -e before ] || { cp version before.new && mv before.new before; }; }',
  'write.sh': 'cd "$SYSTEM" && echo "$HOLDFAST_VERSION" > version.new',
  'switch.sh': 'cd "$SYSTEM" && { [ ! -e version.new ] || mv version.new version; }',
  'undo.sh': 'cd "$SYSTEM" && rm -f version.new && { [ ! -e before ] || cp before version; }',
};

const script: World = {
  name: 'script',
  release: {
    ...plain('script'),
    steps: ['keep', 'write', 'switch', 'undo'].map((name) => ({
      ...{ name, file: `${name}.sh`, timeoutMs: 20_000 },
    })),
  },
  image: async (folder, kind) => {
    const content = join(folder, `script-${kind}`);
    await mkdir(content, { recursive: true });
    const last = kind === 'dead' ? '\nexit 1' : kind === 'sick' ? '\ntouch "$SYSTEM/sick"' : '';
    for (const [name, lines] of Object.entries(scripts)) {
      const more = name === 'switch.sh' ? last : name === 'undo.sh' ? '\nrm -f "$SYSTEM/sick"' : '';
      await writeFile(join(content, name), `#!/bin/sh\n${lines}${more}\n`);
      await chmod(join(content, name), 0o755);
    }
    const path = join(folder, `script-${kind}.tar`);
    await create({ file: path, cwd: content, portable: true }, Object.keys(scripts));
    return path;
  },
  make: async (directory) => {
    await mkdir(join(directory, 'system'), { recursive: true });
    await writeFile(join(directory, 'system', 'version'), '1.0.0\n');
    await simulated(directory, 'script').make(systemImage({ version: '1.0.0' }));
    const record = await openUpdateRecord(directory, { log: silentLog });
    await record.update((state) => ({
      ...state,
      active: 'a',
      slots: { a: { version: '1.0.0', sha256: 'initial', jobId: null }, b: null },
    }));
  },
  open: async (options) => {
    const { directory } = options;
    const machine = machineOf(simulated(directory, 'script'), options);
    const system = join(directory, 'system');
    return openSystem(
      options,
      script.release,
      async (tell) =>
        new ScriptInstaller(
          { machine, tell, log: silentLog },
          {
            directory,
            ...trialOf(options),
            healthCommand: `test ! -e '${system}/sick'`,
            environment: { SYSTEM: system },
          },
        ),
    );
  },
  powerCycle: (directory) => simulated(directory, 'script').boot(),
  look: async (directory) => ({
    version: (await readFile(join(directory, 'system', 'version'), 'utf8')).trim(),
    ranHalf: false,
  }),
};

export const worlds: Readonly<Record<InstallerName, World>> = {
  slots,
  rauc: copies('rauc'),
  swupdate: copies('swupdate'),
  script,
  flash: flashWorld,
};
