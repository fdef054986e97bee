/** What a flash that writes from the first page to the last leaves when it is cut: the tests of cut flashes have to find that out. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  avrBoards,
  compileApplication,
  compileAvrBoard,
  loaderFile,
} from '@holdfast/devices/simulator/avr-board/toolchain';
import { prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t from 'tap';
import { CutBoard } from './cut-board.js';

t.setTimeout(120_000);

t.test('avrdude, cut in the middle, leaves a board that starts half an image', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-avrdude-'));
  const { part, protocol, baudRate } = avrBoards.optiboot;
  const [old, next] = await Promise.all(
    ['1.0.0', '2.0.0'].map((version) =>
      compileApplication(folder, { board: 'optiboot', device: 'd', version, bytes: 4_096 }),
    ),
  );
  if (old === undefined || next === undefined) throw new Error('there are two');
  const of = partNamed(protocol, part);
  const images = [old, next].map(async (file) => prepareImage(await readFile(file), of).bytes);
  const board = new CutBoard({
    ...{ program: await compileAvrBoard(folder), board: 'optiboot', application: old },
    ...{ loader: await loaderFile(folder, 'optiboot'), link: join(folder, 'line') },
    ...{ images: await Promise.all(images), opensReset: true },
  });
  await board.open();
  t.teardown(async () => {
    await board.close();
    await rm(folder, { recursive: true });
  });
  const { now } = board;
  await now.event(/^application started/);
  t.equal(await board.image(), 0);

  now.cutAt(20, 'after');
  const avrdude = spawn('avrdude', [
    ...['-q', '-q', '-c', 'arduino', '-p', 'm328p', '-P', now.path, '-b', `${baudRate}`],
    ...['-D', '-U', `flash:w:${next}:i`],
  ]);
  const since = now.events.length;
  await now.event(/^cut /, { since });
  const ended = once(avrdude, 'exit');
  avrdude.kill('SIGKILL');
  await ended;
  await now.powerOn();
  await now.event(/^(application started|crashed)/, { since });
  t.equal(await board.image(), -1, 'neither the one nor the other');
  await board.looked();
  t.not(board.halves.length, 0, 'and it was started all the same');
});
