/** DTR and RTS for the terminals of simulated boards, preloaded into an unmodified program: a pseudo-terminal has none (modem-lines.c). */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AvrBoard } from './avr-board.js';

const source = fileURLToPath(
  new URL('../../../simulator/avr-board/modem-lines.c', import.meta.url),
);

/** Compiles it; what the environment of the program has to say, for boards whose `link` is in the folder `links`. */
export const compileModemLines = async (
  folder: string,
  links = folder,
): Promise<Record<string, string>> => {
  const library = join(folder, 'modem-lines.so');
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wno-format-truncation', '-shared', '-fPIC'];
  await promisify(execFile)('gcc', [...flags, source, '-o', library, '-ldl']);
  return { LD_PRELOAD: library, HOLDFAST_BOARDS: links };
};

/** To be called whenever the board was started: its process is another. */
export const wireModemLines = ({ path, pid }: Pick<AvrBoard, 'path' | 'pid'>): Promise<void> =>
  writeFile(`${path}.pid`, String(pid));
