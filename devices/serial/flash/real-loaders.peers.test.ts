/** The boot loaders that stand on Arduinos, in simavr, with avrdude as the one who is asked what really stands in the flash. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type FlashImage, prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t, { type Test } from 'tap';
import {
  type AvrBoard,
  type CutMoment,
  openAvrBoard,
} from '../../simulator/avr-board/avr-board.js';
import {
  type AvrBoardName,
  avrBoards,
  compileApplication,
  compileAvrBoard,
  loaderFile,
} from '../../simulator/avr-board/toolchain.js';
import type { BytePort } from '../port/byte-port.js';
import { usualSettings } from '../port/port-settings.js';
import { openSystemPort } from '../port/system-port.js';
import { type FlashReport, flash } from './flash.js';
import { type Reset, resetByCommand, resetByGpio } from './resets.js';
import { stk500v1With } from './stk500v1.js';
import { stk500v2With } from './stk500v2.js';

const folder = await mkdtemp(join(tmpdir(), 'holdfast-loaders-'));
const program = await compileAvrBoard(folder);
t.teardown(() => rm(folder, { recursive: true, force: true }));

interface Bench {
  readonly name: AvrBoardName;
  readonly board: AvrBoard;
  /** Intel HEX of a version. */
  readonly file: (version: string) => Promise<string>;
  readonly image: (version: string) => Promise<FlashImage>;
  readonly write: (image: FlashImage, options?: WriteOptions) => Promise<FlashReport>;
  readonly avrdude: (...what: readonly string[]) => Promise<string>;
  readonly holds: (image: FlashImage) => Promise<boolean>;
}

interface WriteOptions {
  readonly reset?: Reset;
  readonly part?: string;
  readonly before?: (port: BytePort) => Promise<void>;
  /** Once flashed, before the line is let go of. */
  readonly after?: (port: BytePort) => Promise<void>;
}

const openBench = async (t: Test, name: AvrBoardName): Promise<Bench> => {
  const { protocol, part: partName, baudRate } = avrBoards[name];
  const part = partNamed(protocol, partName);
  const file = (version: string) =>
    compileApplication(folder, { board: name, device: 'pump-1', version, bytes: 1_000 });
  const board = await openAvrBoard({
    program,
    board: name,
    loader: await loaderFile(folder, name),
    flash: join(folder, `${name}.flash`),
    application: await file('1.0.0'),
    opensReset: true,
  });
  t.teardown(() => board.close());
  return {
    name,
    board,
    file,
    image: async (version) => prepareImage(await readFile(await file(version)), part),
    write: async (image, { reset = resetByGpio(board), part: other, before, after } = {}) => {
      const port = await openSystemPort(board.path, { ...usualSettings, baudRate });
      try {
        await before?.(port);
        const report = await flash(
          { port, reset },
          {
            loader: impatient[protocol],
            part: other === undefined ? part : partNamed(protocol, other),
            baudRate,
            image,
          },
          { signal: AbortSignal.timeout(60_000) },
        );
        await after?.(port);
        return report;
      } finally {
        const since = board.events.length;
        await port.close();
        // Whoever opens it before the board has seen that resets nothing.
        await board.event(/^host closed/, { since });
      }
    },
    avrdude: async (...what) => {
      const programmer = protocol === 'stk500v1' ? 'arduino' : 'wiring';
      const line = ['-c', programmer, '-P', board.path, '-b', String(baudRate)];
      const run = promisify(execFile)('avrdude', [...line, '-p', partName, '-D', ...what]);
      return (await run).stderr;
    },
    holds: async (image) =>
      (await board.readFlash()).subarray(0, image.bytes.length).equals(image.bytes),
  };
};

/** Resolves when the application said hello with this version. */
const saysHello = (port: BytePort, version: string): Promise<void> =>
  new Promise((resolve) => {
    let heard = '';
    port.onBytes((bytes) => {
      heard += bytes.toString('latin1');
      if (heard.includes(`"version":"${version}"`)) resolve();
    });
  });

/** As they are, but that a board without power is given up on sooner. */
const impatient = {
  stk500v1: stk500v1With({ startMs: 80, knockMs: 700, quietMs: 20, answerMs: 800 }),
  stk500v2: stk500v2With({ startMs: 80, knockMs: 200, answerMs: 800 }),
};
const partSignatures = { optiboot: '1e950f', atmegaboot: '1e950f', stk500boot: '1e9801' };
const pageEvent = /^(erased|written) /;
const spoken: readonly AvrBoardName[] = ['atmegaboot', 'stk500boot'];

// Most of the time is that of the wire, which each has its own of.
t.jobs = 3;
t.setTimeout(90_000);
for (const name of Object.keys(avrBoards) as AvrBoardName[]) {
  t.test(name, { buffered: true }, async (t) => {
    const bench = await openBench(t, name);
    const { board } = bench;
    await board.event(/^application started/);

    /** How many erases and writes a flash takes. */
    let operations = 0;
    await t.test('what it flashes, avrdude reads, and it starts', async (t) => {
      const since = board.events.length;
      const image = await bench.image('2.0.0');
      const report = await bench.write(image, { after: (port) => saysHello(port, '2.0.0') });
      t.equal(report.signature, partSignatures[name]);
      operations = board.events.slice(since).filter((event) => pageEvent.test(event)).length;
      t.ok(await bench.holds(image));
      t.match(await bench.avrdude('-U', `flash:v:${await bench.file('2.0.0')}:i`), /verified/);
    });

    await t.test('what avrdude flashes is found to be there', async (t) => {
      await bench.avrdude('-V', '-U', `flash:w:${await bench.file('3.0.0')}:i`);
      const report = await bench.write(await bench.image('3.0.0'));
      t.equal(report.writtenBytes, 0);
    });

    await t.test('another part is left alone', async (t) => {
      const since = board.events.length;
      const other = name === 'stk500boot' ? 'atmega1280' : 'atmega328';
      const writing = bench.write(await bench.image('4.0.0'), { part: other });
      await t.rejects(writing, { code: 'FLASH_PART_MISMATCH' });
      t.notOk(board.events.slice(since).some((event) => pageEvent.test(event)));
    });

    const cut = async (version: string, operation: number, moment: CutMoment) => {
      const image = await bench.image(version);
      const since = board.events.length;
      board.cutAt(operation, moment);
      const restored = board.event(/^cut /, { since }).then(() => board.powerOn());
      const report = await bench.write(image);
      await restored;
      const events = board.events.slice(since);
      const after = events.slice(events.findIndex((event) => event.startsWith('cut ')));
      return { report, after, isWhole: await bench.holds(image) };
    };

    await t.test('power that fails leaves nothing half, and the flash goes on', async (t) => {
      const { report, after, isWhole } = await cut('5.0.0', 6, 'during');
      t.ok(isWhole);
      const keeps = name !== 'stk500boot';
      t.equal(report.keptBytes > 0, keeps, 'what was there is kept where it can be');
      const started = after.findIndex((event) => event.startsWith('application started'));
      const met = after.indexOf('reset external');
      t.ok(met !== -1 && (started === -1 || met < started), 'no half image ran');
    });

    await t.test('a first page that power left erased is met by the reset pin', async (t) => {
      for (const [version, operation] of [
        ['6.0.0', 1],
        ['7.0.0', operations - 1],
      ] as const) {
        const { isWhole, ...found } = await cut(version, operation, 'after');
        t.ok(isWhole, `at operation ${operation}`, { found });
      }
    });

    if (spoken.includes(name)) {
      await t.test('the application goes there when it is told', async (t) => {
        const plain = await bench.image('8.0.0');
        // Versions of stk500boot go to a monitor of theirs wherever they read three of these.
        const image = { bytes: Buffer.concat([plain.bytes, Buffer.from('!!!!!!!')]) };
        const since = board.events.length;
        // The line's opening has reset the board.
        await bench.write(image, {
          reset: resetByCommand({ application: {}, loader: {} }),
          before: (port) => saysHello(port, '7.0.0'),
        });
        t.ok(board.events.slice(since).includes('loader entered'));
        t.ok(await bench.holds(image));
      });
    }
  });
}
