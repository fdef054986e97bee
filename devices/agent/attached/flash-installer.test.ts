import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import type { LoaderProtocol } from '../../serial/flash/loader-protocol.js';
import { resetByDtr } from '../../serial/flash/resets.js';
import { mcubootSmp } from '../../serial/flash/smp/mcuboot-smp.js';
import { silentLog as log } from '../log.js';
import { makeDirectory } from '../update/update-fixture.js';
import type { Installing, Release, Undoing, UpdateJob } from '../update/update-state.js';
import { FlashInstaller } from './flash-installer.js';
import { boardImage, boardPart, SimulatedBoard } from './simulated-board.js';

const release: Release = { installer: 'flash', securityCounter: 0, steps: [], part: boardPart };

const noLoader = new HoldfastError('FLASH_NO_BOOT_LOADER', 'No MCUboot answers on the line');

/** A board of which the boot loader is not met the first times. */
const setUp = async (t: Test, { deafTimes = 0, why = noLoader, says = '2.0.0' } = {}) => {
  const directory = await makeDirectory();
  const board = new SimulatedBoard({ id: 'pump-1' });
  const before = boardImage('1.0.0');
  board.mcuboot.burn(before);
  board.powerOn();
  t.teardown(async () => {
    board.powerOff();
    await directory.remove();
  });
  let deaf = deafTimes;
  const loader: LoaderProtocol = {
    name: 'mcuboot-smp',
    open: async (...given) => {
      deaf -= 1;
      if (deaf < 0) return mcubootSmp.open(...given);
      throw why;
    },
  };
  const keep = async (image: Buffer): Promise<string> => {
    const path = join(directory.path, createHash('sha256').update(image).digest('hex'));
    await writeFile(path, image);
    return path;
  };
  let kept: string | undefined;
  const hello = { model: 'pump', version: says, boot: 'b' };
  const installer = new FlashInstaller(
    {
      log,
      tell: () => undefined,
      imageOf: async () => kept,
      board: {
        presence: { bootId: 'b', awaitHello: async () => hello },
        takeOver: async (work, { signal }) => {
          const port = board.pair.open();
          try {
            return await work(port, signal, () => undefined);
          } finally {
            await port.close();
          }
        },
      },
    },
    {
      ...{ loader, part: { family: 'mcuboot', name: boardPart }, baudRate: 115_200 },
      ...{ reset: resetByDtr, deadlineMs: 1_000, maxStarts: 3, firstRetryMs: 1 },
    },
  );
  const job = { id: 'job-2', version: '2.0.0' } as UpdateJob;
  const steps: string[] = [];
  const install = async (path: string, begun: Installing['steps'] = []) =>
    installer.install(
      path,
      'b',
      { job, release, target: 'b', steps: begun, since: null },
      {
        signal: AbortSignal.timeout(20_000),
        onProgress: () => undefined,
        step: async (name, work) => {
          steps.push(name);
          await work();
        },
      },
    );
  return {
    board,
    installer,
    job,
    steps,
    install,
    keep,
    keptIs: (path: string | undefined) => {
      kept = path;
    },
    undo: () =>
      installer.undo('', { job, release, previous: 'a' } as Undoing, AbortSignal.timeout(20_000)),
  };
};

t.test('looks at part, version and digest before anything is done', async (t) => {
  const { installer, job, keep } = await setUp(t);
  const good = await keep(boardImage('2.0.0'));
  await installer.inspect(good, job, release);
  await installer.inspect(good, job, { ...release, part: boardPart.toUpperCase() });
  for (const part of ['atmega328p', undefined]) {
    const { part: _, ...other } = release;
    await t.rejects(installer.inspect(good, job, { ...other, ...(part && { part }) }), {
      code: 'FLASH_PART_MISMATCH',
      message: part === undefined ? /no part/ : /atmega328p/,
    });
  }
  await t.rejects(installer.inspect(await keep(boardImage('2.0.1')), job, release), {
    code: 'FLASH_IMAGE_INVALID',
    message: /2\.0\.1.*2\.0\.0/,
  });
  await writeFile(good, boardImage('2.0.0', 'mute'));
  await t.rejects(installer.inspect(good, job, release), { code: 'UPDATE_DIGEST_MISMATCH' });
});

t.test('is not begun where no boot loader answers', async (t) => {
  const { board, install, keep, steps } = await setUp(t, { deafTimes: 5 });
  await t.rejects(install(await keep(boardImage('2.0.0'))), { code: 'FLASH_NO_BOOT_LOADER' });
  t.same(steps, []);
  t.equal(board.mcuboot.version, '1.0.0');
});

t.test('knocks on once it was begun: the board has nothing else to say', async (t) => {
  const { board, install, keep, steps } = await setUp(t, { deafTimes: 7 });
  await install(await keep(boardImage('2.0.0')), [{ name: 'flash', isDone: true }]);
  t.same(steps, []);
  t.equal(board.mcuboot.version, '2.0.0');
});

for (const code of ['GPIO_UNAVAILABLE', 'FLASH_PART_MISMATCH'] as const) {
  t.test(`leaves no board half written for a moment of ${code}`, async (t) => {
    const why = new HoldfastError(code, 'just now');
    const { board, install, keep } = await setUp(t, { deafTimes: 2, why });
    await install(await keep(boardImage('2.0.0')), [{ name: 'flash', isDone: true }]);
    t.equal(board.mcuboot.version, '2.0.0');
    const other = await setUp(t, { deafTimes: 2, why });
    other.keptIs(await other.keep(boardImage('0.9.0')));
    await other.undo();
    t.equal(other.board.mcuboot.version, '0.9.0');
    const fresh = await setUp(t, { deafTimes: 1, why });
    await t.rejects(fresh.install(await fresh.keep(boardImage('2.0.0'))), { code });
  });
}

t.test('is committed to before the first byte', async (t) => {
  const { board, install, keep, steps } = await setUp(t);
  const slot = board.mcuboot.slot.bytes;
  const path = await keep(boardImage('2.0.0'));
  const before = Buffer.from(slot);
  const seen: boolean[] = [];
  steps.push = (...names) => {
    seen.push(slot.equals(before));
    return Array.prototype.push.apply(steps, names);
  };
  await install(path);
  t.same([...steps], ['flash']);
  t.same(seen, [true]);
});

t.test('flashes back what ran before, and says it where that is not kept', async (t) => {
  const { board, keep, keptIs, undo } = await setUp(t);
  board.mcuboot.burn(boardImage('2.0.0', 'mute'));
  await t.rejects(undo(), { code: 'UPDATE_INSTALL_FAILED', message: /not kept here/ });
  t.equal(board.mcuboot.version, '2.0.0');
  keptIs(await keep(boardImage('1.0.0')));
  await undo();
  t.equal(board.mcuboot.version, '1.0.0');
});
