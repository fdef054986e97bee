/** A microcontroller on a serial line: the C client's example on a simulated Uno with its real boot loader; it does nothing for its update itself. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openAvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import {
  compileModemLines,
  wireModemLines,
} from '@holdfast/devices/simulator/avr-board/modem-lines';
import {
  avrBoards,
  compileAvrBoard,
  intelHexOf,
  loaderFile,
} from '@holdfast/devices/simulator/avr-board/toolchain';
import type { Test } from 'tap';
import type { KindOfDevice } from './kind.js';

export interface AvrKind extends KindOfDevice {
  /** Of `serial.lines`. */
  readonly line: object;
  /** What the environment of the gateway says, so that a terminal has the modem lines of a port. */
  readonly environment: Readonly<Record<string, string>>;
}

const client = fileURLToPath(new URL('../../../../devices/mcu/', import.meta.url));
const board = 'optiboot';
const { part, protocol, baudRate } = avrBoards[board];

/** `folder` is its own. */
export const openAvrKind = async (t: Test, device: string, folder: string): Promise<AvrKind> => {
  await mkdir(folder);
  const link = join(folder, 'line');
  const compile = async (version: string): Promise<string> => {
    const program = join(folder, `${version}.elf`);
    const defines = ['-DF_CPU=16000000UL', `-DVERSION="${version}"`, `-DDEVICE="${device}"`];
    const sources = ['examples/cabinet/cabinet.c', 'holdfast.c'].map((name) => join(client, name));
    const flags = [`-mmcu=${part}`, '-std=c99', '-Os', ...defines, '-I', client];
    await promisify(execFile)('avr-gcc', [...flags, ...sources, '-o', program]);
    return intelHexOf(program);
  };
  const [program, loader, application, image, environment] = await Promise.all([
    compileAvrBoard(folder),
    loaderFile(folder, board),
    compile('1.0.0'),
    compile('2.0.0'),
    compileModemLines(folder),
  ]);
  const flash = join(folder, 'flash.bin');
  const running = await openAvrBoard({ program, board, loader, flash, application, link });
  t.teardown(() => running.close());
  await wireModemLines(running);
  return {
    ...{ device, model: 'cabinet', image, environment },
    signArgs: ['--installer', 'flash', '--part', part],
    line: { device, path: link, baudRate, flash: { protocol, part, reset: 'dtr' } },
    story: () => running.events.slice(-50).join(', '),
    start: async () => void (await running.event(/^application started/)),
    update: async () => undefined,
  };
};
