/** A microcontroller on a serial line: a simulated Uno with its real boot loader, which the gateway flashes; it does nothing for that itself. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openAvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import {
  compileModemLines,
  wireModemLines,
} from '@holdfast/devices/simulator/avr-board/modem-lines';
import {
  avrBoards,
  compileApplication,
  compileAvrBoard,
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

const board = 'optiboot';
const { part, protocol, baudRate } = avrBoards[board];

/** `folder` is its own. */
export const openAvrKind = async (t: Test, device: string, folder: string): Promise<AvrKind> => {
  await mkdir(folder);
  const link = join(folder, 'line');
  const compile = (version: string): Promise<string> =>
    compileApplication(folder, { board, device, version, bytes: 4_096 });
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
    ...{ device, model: 'avr-board', image, environment },
    signArgs: ['--installer', 'flash', '--part', part],
    line: { device, path: link, baudRate, flash: { protocol, part, reset: 'dtr' } },
    story: () => running.events.slice(-50).join(', '),
    start: async () => void (await running.event(/^application started/)),
    async update() {
      const { length: since } = running.events;
      await running.event(/^written/, { since });
    },
  };
};
