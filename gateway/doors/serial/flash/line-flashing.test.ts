import type { PortOpener } from '@holdfast/devices/serial/port/byte-port';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import { type SerialSite, sha256Of } from '../test-serial-site.js';
import { type TestBoard, testImage } from './test-board.js';
import {
  becomes,
  executionOf,
  flashedSite,
  job,
  makeBoard,
  old,
  pump,
  startSite,
  young,
} from './test-flashed-site.js';

const idle = (site: SerialSite) =>
  site.until(() => {
    const status = site.flashing.status(pump);
    return status?.phase === 'idle' ? status : undefined;
  });

/** Stops the board at a page until it is let go on; resolves when it stands there. */
const holdAt = (board: TestBoard, page: number) => {
  let goOn: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const there = new Promise<void>((resolve) => {
    board.onPage = (write) => {
      if (write !== page) return undefined;
      resolve();
      return gone;
    };
  });
  return { there, goOn };
};

t.test('flashes a microcontroller, and takes its next hello for the proof', async (t) => {
  const { board, site } = await flashedSite(t);
  const done = await becomes(site, 'succeeded');
  t.match(done, { door: 'serial', fromVersion: '1.0.0', attempt: 1, error: null });
  t.equal(board.holds, '2.0.0');
  t.equal(board.resets, 1);
  t.equal(site.devices.get(pump)?.firmwareVersion, '2.0.0');
  t.match(await idle(site), { running: '2.0.0', trouble: null, by: null });
  t.equal(site.updates.executionsOf(pump).length, 0);
});

t.test('its own reset is the proof of another run, whatever the board calls it', async (t) => {
  const board = makeBoard();
  board.hasOneBoot = true;
  const { site } = await flashedSite(t, { board });
  t.match(await becomes(site, 'succeeded'), { attempt: 1 });
});

t.test('brings back what ran before when the new application says nothing', async (t) => {
  const { board, site } = await flashedSite(t, { says: null, policy: { confirm_timeout_ms: 200 } });
  const done = await becomes(site, 'rolled_back');
  t.match(done.error, /2\.0\.0 was written and verified, and said no hello: 1\.0\.0 is back/);
  t.equal(board.holds, '1.0.0');
  t.match(await idle(site), { running: '1.0.0' });
});

t.test('brings back what ran before when the new application takes its port along', async (t) => {
  const board = makeBoard(null);
  const { pair } = board;
  // An application that falls over again and again, on a chip that is its own USB port.
  const flapping = setInterval(() => {
    if (board.writes < 9 || board.resets > 1) return;
    pair.unplug();
    pair.plug();
  }, 50);
  t.teardown(() => clearInterval(flapping));
  const { site } = await flashedSite(t, { board, policy: { confirm_timeout_ms: 200 } });
  const done = await becomes(site, 'rolled_back');
  t.match(done.error, /said no hello: 1\.0\.0 is back/);
  t.equal(board.holds, '1.0.0');
});

t.test(
  'says what to do where what ran before is not here, and flashes the next offer',
  async (t) => {
    const fixed = { ...old, version: '3.0.0', isKnownOnly: false };
    const { folder, board, site } = await flashedSite(t, {
      ...{ says: null, firmware: [young], policy: { confirm_timeout_ms: 100 } },
    });
    const done = await becomes(site, 'failed');
    t.match(done.error, /what ran before is not known. Another release can be flashed/);
    await idle(site);
    await site.close();
    board.says('1.0.0', '3.0.0');
    const next = await startSite(t, folder, board, { firmware: [young, fixed] });
    t.match(await becomes(next, 'succeeded', 'c-3_0_0'), { door: 'serial' });
    t.equal(board.holds, '3.0.0');
  },
);

t.test(
  'goes on where it was when the line is plugged in again, at no cost of the device',
  async (t) => {
    const board = makeBoard();
    const { there, goOn } = holdAt(board, 4);
    const { site } = await flashedSite(t, { board });
    await there;
    board.pair.unplug();
    goOn();
    const waiting = await site.until(async () => {
      const found = await executionOf(site);
      return found?.error?.startsWith('waits for its line') ? found : undefined;
    });
    t.match(waiting, { status: 'installing', attempt: 1 });
    t.notOk(board.isWhole);
    t.ok(site.updates.executionsOf(pump).length > 0);
    t.equal(site.flashing.isReachable(pump), false);
    board.pair.plug();
    t.match(await becomes(site, 'succeeded'), { attempt: 1, siteFailures: 0 });
    t.equal(board.holds, '2.0.0');
  },
);

t.test(
  'takes attempts for what is the fault of the board, and mends it when they are over',
  async (t) => {
    const board = makeBoard();
    let isWorn = true;
    board.onPage = (write) => {
      if (isWorn && write >= 3) throw new HoldfastError('FLASH_VERIFY_FAILED', 'page 2 is worn');
    };
    const { site } = await flashedSite(t, { board });
    const done = await becomes(site, 'failed');
    t.match(done, { attempt: 1, error: 'FLASH_VERIFY_FAILED: page 2 is worn' });
    t.notOk(board.isWhole);
    isWorn = false;
    await site.until(() => (board.isWhole ? true : undefined));
    t.equal(board.holds, '1.0.0', 'what ran before');
    t.match(await idle(site), { running: '1.0.0' });
  },
);

t.test('a board without a boot loader costs its attempts, and runs on', async (t) => {
  const board = makeBoard();
  board.onOpen = () => {
    board.powerCycle();
    throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'nothing answers');
  };
  const { site } = await flashedSite(t, { board });
  t.match(await becomes(site, 'failed'), { error: /^FLASH_NO_BOOT_LOADER: / });
  t.equal(board.writes, 0);
  await site.until(() => (site.devices.get(pump)?.session == null ? undefined : true));
});

t.test('a port that does not take the rate of the boot loader fails the job', async (t) => {
  const board = makeBoard();
  let changes = 0;
  const openPort: PortOpener = async (path, settings) => {
    const port = await board.pair.openPort(path, settings);
    const change = port.change.bind(port);
    port.change = async (wanted) => {
      changes += 1;
      // Every other one is the line's own, who has what it had.
      if (changes % 2 === 0) return change(wanted);
      throw new HoldfastError('SERIAL_SETTINGS_REFUSED', 'The port does not take 250000 baud');
    };
    return port;
  };
  const ports = { openPort, findPort: async () => ({ path: '/dev/ttyTest' }) };
  const { site } = await flashedSite(t, { board, ports });
  const done = await becomes(site, 'failed');
  t.match(done, { error: 'SERIAL_SETTINGS_REFUSED: The port does not take 250000 baud' });
  t.equal(board.resets, 0);
});

t.test('offers nothing that is for another part, or for another installer', async (t) => {
  const { site, board } = await flashedSite(t, { firmware: [{ ...young, part: 'atmega2560' }] });
  t.match(await becomes(site, 'failed'), { error: /FLASH_PART_MISMATCH.*for the part atmega2560/ });
  t.equal(board.resets, 0);
});

t.test('writes nothing when another part answers, or the image is none', async (t) => {
  const board = makeBoard();
  board.part = 'atmega168p';
  const { site } = await flashedSite(t, { board });
  t.match(await becomes(site, 'failed'), { error: /FLASH_PART_MISMATCH: it is an atmega168p/ });
  t.equal(board.writes, 0);
  const other = await flashedSite(t, { firmware: [{ ...young, image: Buffer.alloc(40_000, 1) }] });
  t.match(await becomes(other.site, 'failed'), { error: /FLASH_IMAGE_TOO_LARGE/ });
  t.equal(other.board.resets, 0, 'and the board is not disturbed');
});

/** The board stands right after its first page was written. */
const begunSite = async (t: Test) => {
  const board = makeBoard();
  const { there, goOn } = holdAt(board, 2);
  const { site } = await flashedSite(t, { board });
  await there;
  return { board, site, goOn };
};

t.test('a cancellation after the first byte is too late: half an image is worse', async (t) => {
  const { board, site, goOn } = await begunSite(t);
  site.plan.cancel();
  await becomes(site, 'cancelling');
  goOn();
  await becomes(site, 'succeeded');
  t.equal(board.holds, '2.0.0');
});

for (const way of ['stop', 'pause', 'cancel'] as const) {
  t.test(`${way} before the first byte ends it, and nothing is written`, async (t) => {
    const board = makeBoard();
    let goOn: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let isThere: () => void = () => undefined;
    const there = new Promise<void>((resolve) => {
      isThere = resolve;
    });
    board.onOpen = () => {
      isThere();
      return gone;
    };
    const { site } = await flashedSite(t, { board });
    await there;
    if (way === 'stop') await site.updates.controls.stopAll('tess', 'smoke');
    else if (way === 'pause') await site.updates.controls.pause(job, 'tess', 'smoke');
    else site.plan.cancel();
    // A pause leaves what is taken up where it is; here it has yet to be seen that it may not begin.
    if (way !== 'pause') await becomes(site, way === 'cancel' ? 'cancelled' : 'queued');
    board.onOpen = () => undefined;
    goOn();
    if (way === 'pause') {
      const held = await site.until(async () => {
        const found = await executionOf(site);
        return found?.held === true ? found : undefined;
      });
      t.match(held, { status: 'verifying', error: 'waits until the campaign is resumed' });
    } else {
      await idle(site);
      // Nobody tells a real loader: it starts the application by itself.
      board.powerCycle();
    }
    t.equal(board.writes, 0);
    await site.until(() => (site.devices.get(pump)?.session == null ? undefined : true));
    t.equal(board.holds, '1.0.0');
    if (way === 'cancel') return;
    if (way === 'stop') await site.updates.controls.liftStop('tess', 'it was steam');
    else await site.updates.controls.resume(job, 'tess');
    t.match(await becomes(site, 'succeeded'), { attempt: 1 });
  });

  if (way === 'cancel') continue;
  t.test(`${way} after the first byte lets it go on`, async (t) => {
    const { board, site, goOn } = await begunSite(t);
    if (way === 'stop') await site.updates.controls.stopAll('tess', 'smoke');
    else await site.updates.controls.pause(job, 'tess', 'smoke');
    goOn();
    await becomes(site, 'succeeded');
    t.equal(board.holds, '2.0.0');
  });
}

t.test('asks for its window, and leaves the board alone until it opens', async (t) => {
  let isOpen = false;
  const windows = {
    closed: (what: string) =>
      isOpen || what !== 'install' ? undefined : { opening: null, reason: 'waits for the night' },
  };
  const { board, site } = await flashedSite(t, { windows });
  const held = await site.until(async () => {
    const found = await executionOf(site);
    return found?.held === true ? found : undefined;
  });
  t.match(held, { status: 'verifying', error: 'waits for the night' });
  t.equal(board.resets, 0);
  t.not(site.devices.get(pump)?.session, null, 'it is still there');
  isOpen = true;
  await becomes(site, 'succeeded');
});

t.test('a release that is recalled while it waits for its window is not written', async (t) => {
  let isOpen = false;
  let isRecalled = false;
  const windows = {
    closed: (what: string) =>
      isOpen || what !== 'install' ? undefined : { opening: null, reason: 'waits for the night' },
  };
  const recalled = () =>
    isRecalled
      ? ({ code: 'FIRMWARE_SIGNATURE_INVALID', message: 'its key is revoked' } as const)
      : undefined;
  const { board, site } = await flashedSite(t, { windows, recalled });
  await site.until(async () => ((await executionOf(site))?.held === true ? true : undefined));
  isRecalled = true;
  isOpen = true;
  t.match(await becomes(site, 'failed'), {
    error: 'FIRMWARE_SIGNATURE_INVALID: its key is revoked',
  });
  t.equal(board.resets, 0);
  t.match(await idle(site), { running: null });
});

t.test('keeps to the disruption budget: a board that is flashed is missing', async (t) => {
  const disruption = [{ group: null, max_unavailable: 0, min_available: null }];
  const { board, site } = await flashedSite(t, { policy: { disruption } });
  const held = await site.until(async () => {
    const found = await executionOf(site);
    return found?.held === true ? found : undefined;
  });
  t.match(held.error, /waits for its turn: 0 of the site are missing, and 0 may be/);
  t.equal(board.resets, 0);
});

t.test('goes on after a restart without a word of the board', async (t) => {
  const board = makeBoard();
  const { there, goOn } = holdAt(board, 5);
  const { folder, site } = await flashedSite(t, { board });
  await there;
  const closing = site.close();
  goOn();
  await closing;
  t.notOk(board.isWhole, 'it is mute');
  board.onPage = () => undefined;
  const next = await startSite(t, folder, board);
  t.match(await becomes(next, 'succeeded'), { attempt: 1 });
  t.equal(board.holds, '2.0.0');
});

t.test('a disk that is full stops no board in the middle, and lets none begin', async (t) => {
  let isFull = false;
  const through = (commit: () => Promise<void>, isUrgent: boolean): Promise<void> =>
    isFull && !isUrgent
      ? Promise.reject(new HoldfastError('STORE_FULL', 'the disk is full'))
      : commit();
  const board = makeBoard();
  const { there, goOn } = holdAt(board, 4);
  const { site } = await flashedSite(t, { board, through });
  await there;
  isFull = true;
  goOn();
  await becomes(site, 'succeeded');
  t.equal(board.holds, '2.0.0');
  await idle(site);
  await t.rejects(site.flashing.flash(pump, { by: 'tess' }), { code: 'STORE_FULL' });
  t.equal(board.resets, 1);
});

t.test('what runs stays in the cache, and so does what may have to come back', async (t) => {
  const board = makeBoard();
  const { there, goOn } = holdAt(board, 3);
  const { site } = await flashedSite(t, { board });
  await there;
  for (const { image } of [old, young]) t.ok(site.flashing.isKept(sha256Of(image)));
  goOn();
  await becomes(site, 'succeeded');
  await idle(site);
  t.ok(site.flashing.isKept(sha256Of(young.image)));
  t.notOk(site.flashing.isKept(sha256Of(old.image)));
});

t.test('what a board says it runs stays there too, before it is first flashed here', async (t) => {
  const windows = {
    closed: (what: string) =>
      what === 'install' ? { opening: null, reason: 'waits for the night' } : undefined,
  };
  const { site } = await flashedSite(t, { windows });
  await site.until(async () => ((await executionOf(site))?.held === true ? true : undefined));
  t.ok(site.flashing.isKept(sha256Of(old.image)));
});

t.test('what a person wants waits for the disk, and the board is mended meanwhile', async (t) => {
  let isFull = false;
  const through = (commit: () => Promise<void>, isUrgent: boolean): Promise<void> =>
    isFull && !isUrgent
      ? Promise.reject(new HoldfastError('STORE_FULL', 'the disk is full'))
      : commit();
  const board = makeBoard();
  let isWorn = true;
  board.onPage = (write) => {
    if (isWorn && write >= 3) throw new HoldfastError('FLASH_VERIFY_FAILED', 'page 2 is worn');
  };
  const { site } = await flashedSite(t, { board, through });
  await becomes(site, 'failed');
  await site.until(() => {
    const { phase, by } = site.flashing.status(pump) ?? {};
    return phase === 'writing' && by === 'the board' ? true : undefined;
  });
  isFull = true;
  const wish = site.flashing.flash(pump, { version: '2.0.0', by: 'tess' });
  await t.rejects(wish, { code: 'STORE_FULL' });
  isWorn = false;
  await site.until(() => (board.isWhole ? true : undefined));
  t.equal(board.holds, '1.0.0');
});

t.test(
  'a person at the site has a board flashed again, older versions and mute boards too',
  async (t) => {
    const { board, site } = await flashedSite(t, {
      says: null,
      policy: { confirm_timeout_ms: 100 },
    });
    const by = 'tess';
    await becomes(site, 'rolled_back');
    await idle(site);
    await t.rejects(site.flashing.flash('nobody', { by }), { code: 'RESOURCE_NOT_FOUND' });
    await t.rejects(site.flashing.flash(pump, { version: '9.9.9', by }), {
      code: 'RESOURCE_NOT_FOUND',
      message: /9\.9\.9 is not in the cache/,
    });
    await site.updates.controls.stopAll(by, 'smoke');
    await t.rejects(site.flashing.flash(pump, { by }), { code: 'UPDATE_WINDOW_CLOSED' });
    await site.updates.controls.liftStop(by, '');

    const { there, goOn } = holdAt(board, board.writes + 3);
    await site.flashing.flash(pump, { version: '2.0.0', by });
    await there;
    t.match(site.flashing.status(pump), { phase: 'writing', version: '2.0.0', by });
    await t.rejects(site.flashing.flash(pump, { by }), { code: 'RESOURCE_CONFLICT' });
    goOn();
    const mute = await idle(site);
    t.match(mute, {
      running: '1.0.0',
      trouble: /2\.0\.0 was written and verified, and said no hello/,
    });
    t.equal(board.holds, '1.0.0');

    board.cutPower();
    await site.flashing.flash(pump, { by });
    t.match(await idle(site), { trouble: /FLASH_NO_BOOT_LOADER/ });
    board.powerCycle();
    board.hold(testImage('vandals'));
    board.powerCycle();
    await site.flashing.flash(pump, { version: '1.0.0', by });
    t.match(await idle(site), { running: '1.0.0', trouble: null });
    t.equal(board.holds, '1.0.0');
  },
);

t.test('what a board said before it was reset is no proof of what stands in it now', async (t) => {
  const { board, site } = await flashedSite(t, { says: null, policy: { confirm_timeout_ms: 100 } });
  await becomes(site, 'rolled_back');
  await idle(site);
  const ofOneFlash = 9;
  const { there, goOn } = holdAt(board, board.writes + ofOneFlash + 4);
  await site.flashing.flash(pump, { version: '2.0.0', by: 'tess' });
  await there;
  t.match(site.flashing.status(pump), { phase: 'restoring', version: '1.0.0' });
  // Its commit was on its way since before the reset.
  await site.flashing.hello(pump, '2.0.0');
  goOn();
  t.match(await idle(site), { running: '1.0.0' });
  t.equal(board.holds, '1.0.0');
});

t.test('a board can be flashed again where what ran before is not whole any more', async (t) => {
  const fixed = { ...old, version: '3.0.0', image: testImage('three'), isKnownOnly: true };
  const board = makeBoard(null, [{ image: fixed.image, says: '3.0.0' }]);
  const { there, goOn } = holdAt(board, 4);
  const { site } = await flashedSite(t, {
    ...{ board, firmware: [old, young, fixed], policy: { confirm_timeout_ms: 100 } },
  });
  await there;
  await site.damage(old.image, testImage('rot'));
  goOn();
  const done = await becomes(site, 'failed');
  t.match(done.error, /said no hello.*what ran before could not be written: STORE_UNAVAILABLE/);
  await site.until(() => (site.flashing.status(pump)?.by === 'the board' ? true : undefined));
  await site.flashing.flash(pump, { version: '3.0.0', by: 'tess' });
  t.match(await idle(site), { running: '3.0.0' });
  t.equal(board.holds, '3.0.0');
});

t.test('what a person wants gives way to what ran before when it rots on the disk', async (t) => {
  const { board, site } = await flashedSite(t);
  await becomes(site, 'succeeded');
  await idle(site);
  const { there, goOn } = holdAt(board, board.writes + 4);
  await site.flashing.flash(pump, { version: '1.0.0', by: 'tess' });
  await there;
  await site.damage(old.image, testImage('rot'));
  board.pair.unplug();
  goOn();
  board.pair.plug();
  t.match(await idle(site), { running: '2.0.0' });
  t.equal(board.holds, '2.0.0');
});

t.test('an emergency stop before the first byte holds what a person wants, too', async (t) => {
  const board = makeBoard();
  const { site } = await flashedSite(t, { board });
  await becomes(site, 'succeeded');
  await idle(site);
  const { writes } = board;
  let goOn: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const there = new Promise<void>((resolve) => {
    board.onOpen = () => {
      resolve();
      return gone;
    };
  });
  await site.flashing.flash(pump, { version: '1.0.0', by: 'tess' });
  await there;
  await site.updates.controls.stopAll('tess', 'smoke');
  board.onOpen = () => undefined;
  goOn();
  await site.until(() => (site.devices.get(pump)?.session == null ? undefined : true));
  t.match(site.flashing.status(pump), { phase: 'waiting', trouble: /stopped/ });
  t.equal(board.writes, writes);
  await site.updates.controls.liftStop('tess', 'it was steam');
  t.match(await idle(site), { running: '1.0.0' });
});

t.test(
  'of two people who want a board flashed at once, one is told that it is taken',
  async (t) => {
    const { board, site } = await flashedSite(t);
    await becomes(site, 'succeeded');
    await idle(site);
    const both = await Promise.allSettled([
      site.flashing.flash(pump, { version: '1.0.0', by: 'tess' }),
      site.flashing.flash(pump, { version: '2.0.0', by: 'theo' }),
    ]);
    t.match(both, [
      { status: 'fulfilled', value: { version: '1.0.0' } },
      { status: 'rejected', reason: { code: 'RESOURCE_CONFLICT' } },
    ]);
    t.match(await idle(site), { running: '1.0.0' });
    t.equal(board.holds, '1.0.0');
  },
);
