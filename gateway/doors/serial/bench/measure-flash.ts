/** 30 KB into a simulated Uno with its real boot loader, by this and by avrdude in turn: the image written and verified each time. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { flash } from '@holdfast/devices/serial/flash/flash';
import { stk500v1 } from '@holdfast/devices/serial/flash/stk500v1';
import { usualSettings } from '@holdfast/devices/serial/port/port-settings';
import { openSystemPort } from '@holdfast/devices/serial/port/system-port';
import { type AvrBoard, openAvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import {
  avrBoards,
  compileApplication,
  compileAvrBoard,
  loaderFile,
} from '@holdfast/devices/simulator/avr-board/toolchain';
import { prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import { type Figure, percentile } from '../../../shadows/bench/figures.js';

const run = promisify(execFile);
const imageBytes = 30_720;
const { part: partName, baudRate } = avrBoards.optiboot;

export const measureFlash = async (
  { say }: { readonly say: (text: string) => void },
  { times }: { readonly times: number },
): Promise<Figure[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-flash-'));
  const images = await Promise.all(
    ['1.0.0', '2.0.0'].map((version) =>
      compileApplication(folder, {
        ...{ board: 'optiboot' as const, device: 'bench', version },
        bytes: imageBytes,
      }),
    ),
  );
  const board = await openAvrBoard({
    ...{ program: await compileAvrBoard(folder), board: 'optiboot' },
    ...{ loader: await loaderFile(folder, 'optiboot'), flash: join(folder, 'flash.bin') },
    // avrdude's way to reset it; a port that is open already is reset besides.
    opensReset: true,
  });
  try {
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let time = 0; time < times; time += 1) {
      // Each finds the other's image, so that every page has to be written.
      const [first = '', second = ''] = images;
      say(`flash ${time + 1} of ${times} …`);
      ours.push(await timeOf(() => flashByUs(board, first)));
      await isThere(board, first);
      theirs.push(await timeOf(() => flashByAvrdude(board, second)));
      await isThere(board, second);
    }
    const ratio = percentile(ours, 0.5) / percentile(theirs, 0.5);
    return [
      {
        what: `30 KB at ${baudRate.toLocaleString('en')} baud, written and verified (median of ${times})`,
        ...{ value: percentile(ours, 0.5), unit: 's' },
        baseline: { what: 'avrdude', value: percentile(theirs, 0.5) },
      },
      { what: '  of what avrdude takes', value: ratio, unit: '×', aim: '≤ 1.1 ×' },
    ];
  } finally {
    await board.close();
    await rm(folder, { recursive: true });
  }
};

const timeOf = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1_000;
};

const flashByUs = async (board: AvrBoard, file: string): Promise<void> => {
  const part = partNamed('stk500v1', partName);
  const image = prepareImage(await readFile(file), part);
  const port = await openSystemPort(board.path, { ...usualSettings, baudRate });
  try {
    const reset = () => board.reset();
    const work = { loader: stk500v1, part, baudRate, image };
    await flash({ port, reset }, work, { signal: AbortSignal.timeout(60_000) });
  } finally {
    await port.close();
  }
};

const flashByAvrdude = ({ path }: AvrBoard, file: string): Promise<unknown> =>
  run('avrdude', [
    ...['-q', '-q', '-c', 'arduino', '-p', 'm328p', '-P', path, '-b', `${baudRate}`],
    ...['-D', '-U', `flash:w:${file}:i`],
  ]);

const isThere = async (board: AvrBoard, file: string): Promise<void> => {
  const { bytes } = prepareImage(await readFile(file), partNamed('stk500v1', partName));
  const found = (await board.readFlash()).subarray(0, bytes.length);
  if (!found.equals(bytes)) throw new Error('the flash holds something else');
};
