/** For tests: the installer `flash` among the worlds of installers: an agent, and the simulated board on its line, whose flash is a file. */
import { createHash } from 'node:crypto';
import { appendFileSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readMcubootImage } from '@holdfast/provisioning/firmware/flash/mcuboot-image';
import { resetByDtr } from '../../serial/flash/resets.js';
import { mcubootSmp } from '../../serial/flash/smp/mcuboot-smp.js';
import { newSlot, type SimulatedSlot } from '../../serial/flash/smp/simulated-mcuboot.js';
import { jsonLines } from '../../serial/json-lines/json-lines.js';
import { silentLog } from '../log.js';
import type { ImageKind, World } from '../update/installer-world.js';
import { openUpdateRecord } from '../update/open-updater.js';
import type { Release } from '../update/update-state.js';
import { AttachedDevice } from './attached-device.js';
import { openFlashing } from './open-attached.js';
import { type BoardImage, boardImage, boardPart, SimulatedBoard } from './simulated-board.js';

const release: Release = { installer: 'flash', securityCounter: 1, steps: [], part: boardPart };
const kinds: Record<ImageKind, BoardImage> = { good: 'good', sick: 'mute', dead: 'lying' };
const device = 'board-1';
const flashFile = (directory: string): string => join(directory, 'board.flash');
const startsFile = (directory: string): string => join(directory, 'board.starts');

/** What it has survives the process: a write is in the file before the boot loader answers. */
const slotOf = (directory: string, step: () => void): SimulatedSlot => {
  const bytes = readFileSync(flashFile(directory));
  const file = openSync(flashFile(directory), 'r+');
  return {
    bytes,
    changed: (change) => {
      step();
      change();
      writeSync(file, bytes, 0, bytes.length, 0);
      step();
    },
  };
};

export const flashWorld: World = {
  name: 'flash',
  release,
  image: async (folder, kind) => {
    await mkdir(folder, { recursive: true });
    const path = join(folder, `${kind}.bin`);
    await writeFile(path, boardImage('2.0.0', kinds[kind]));
    return path;
  },
  make: async (directory) => {
    const before = boardImage('1.0.0');
    const sha256 = createHash('sha256').update(before).digest('hex');
    const slot = newSlot();
    slot.bytes.set(before);
    await mkdir(join(directory, 'images'), { recursive: true });
    await writeFile(flashFile(directory), slot.bytes);
    await writeFile(join(directory, 'images', sha256), before);
    const record = await openUpdateRecord(directory, { log: silentLog });
    await record.update((state) => ({
      ...state,
      active: 'a',
      slots: { a: { version: '1.0.0', sha256, jobId: null }, b: null },
    }));
  },
  open: async ({ directory, baseUrl, check, reporter, deadlineMs = 20_000, step, ...wraps }) => {
    const board = new SimulatedBoard({
      id: device,
      slot: slotOf(directory, step ?? (() => undefined)),
    });
    const attached = await AttachedDevice.open(
      {
        driver: jsonLines,
        line: { openPort: board.pair.openPort },
        session: { publish: async () => undefined },
        telemetry: { keep: async () => undefined },
        time: { now: Date.now, isKnown: true },
        report: () => undefined,
        log: silentLog,
      },
      {
        ...{ device, model: 'pi', dataDir: directory, baudRate: 115_200 },
        address: { path: 'board' },
        retryDelayMs: () => 10,
      },
    );
    attached.presence.onHello(({ version }) =>
      appendFileSync(startsFile(directory), `${version}\n`),
    );
    board.powerOn();
    const { updater, close } = await openFlashing(
      { log: silentLog, board: attached, reset: resetByDtr },
      {
        ...{ dataDir: directory, baudRate: 115_200, deadlineMs, maxStarts: 4 },
        flash: { protocol: mcubootSmp.name, part: boardPart, reset: 'dtr' },
      },
      {
        ...wraps,
        reporter,
        check: check ?? (async () => release),
        gateway: { baseUrl: () => baseUrl },
        onLaunch: () => undefined,
      },
    );
    attached.open();
    return {
      updater,
      close: async () => {
        await close();
        await attached.close();
        board.powerOff();
      },
    };
  },
  // Its flash is a file, and it starts anew with the agent.
  powerCycle: async () => undefined,
  look: async (directory) => ({
    version: readMcubootImage(await readFile(flashFile(directory))).version,
    ranHalf: false,
  }),
};
