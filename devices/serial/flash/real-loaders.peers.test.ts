/** The boot loaders that stand on Arduinos, in simavr, with avrdude as the one who is asked what really stands in the flash. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type FlashImage, prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t, { type Test } from 'tap';
import { type AvrBoard, openAvrBoard } from '../../simulator/avr-board/avr-board.js';
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
import { loaderProtocols } from './loader-protocols.js';
import { type Reset, resetByCommand, resetByGpio } from './resets.js';

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
  /** Once flashed, before the line is let go of. */
  readonly after?: (port: BytePort) => Promise<void>;
}

const openBench = async (t: Test, name: AvrBoardName): Promise<Bench> => {
  const { protocol, part: partName, baudRate } = avrBoards[name];
  const part = partNamed(protocol, partName);
  const file = (version: string) =>
    compileApplication(folder, { board: name, device: 'pump-1', version, bytes: 1_500 });
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
    write: async (image, { reset = resetByGpio(board), part: other, after } = {}) => {
      const port = await openSystemPort(board.path, { ...usualSettings, baudRate });
      try {
        const report = await flash(
          { port, reset },
          {
            loader: loaderProtocols[protocol],
            part: other === undefined ? part : partNamed(protocol, other),
            baudRate,
            image,
          },
          { signal: AbortSignal.timeout(60_000) },
        );
        await after?.(port);
        return report;
      } finally {
        await port.close();
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

const partSignatures = { optiboot: '1e950f', atmegaboot: '1e950f', stk500boot: '1e9801' };
const spoken: readonly AvrBoardName[] = ['atmegaboot', 'stk500boot'];

// Most of the time is that of the wire, which each has its own of.
t.jobs = 3;
for (const name of Object.keys(avrBoards) as AvrBoardName[]) {
  t.test(name, { buffered: true }, async (t) => {
    const bench = await openBench(t, name);
    const { board } = bench;
    await board.event(/^application started/);

    await t.test('what it flashes, avrdude reads, and it starts', async (t) => {
      const image = await bench.image('2.0.0');
      const report = await bench.write(image, { after: (port) => saysHello(port, '2.0.0') });
      t.equal(report.signature, partSignatures[name]);
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
      t.notOk(board.events.slice(since).some((event) => /^(erased|written)/.test(event)));
    });

    await t.test(
      'power that fails within a page leaves nothing half, and it goes on',
      async (t) => {
        const image = await bench.image('5.0.0');
        const since = board.events.length;
        board.cutAt(11, 'during');
        const restored = board.event(/^cut /, { since }).then(() => board.powerOn());
        const report = await bench.write(image);
        await restored;
        t.ok(await bench.holds(image));
        t.equal(
          report.keptBytes > 0,
          name !== 'stk500boot',
          'what was there is kept where it can be',
        );
        const events = board.events.slice(since);
        const between = events.slice(events.findIndex((event) => event.startsWith('cut ')));
        const started = between.findIndex((event) => event.startsWith('application started'));
        const met = between.indexOf('reset external');
        t.ok(met !== -1 && (started === -1 || met < started), 'no half image ran');
      },
    );

    if (spoken.includes(name)) {
      await t.test('the application goes there when it is told', async (t) => {
        const plain = await bench.image('6.0.0');
        // Versions of stk500boot go to a monitor of theirs wherever they read three of these.
        const image = { bytes: Buffer.concat([plain.bytes, Buffer.from('!!!!!!!')]) };
        await board.event(/^application started/, { since: board.events.length - 1 });
        await bench.write(image, { reset: resetByCommand });
        t.ok(await bench.holds(image));
      });
    }
  });
}
