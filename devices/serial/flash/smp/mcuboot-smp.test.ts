import { generateKeyPairSync } from 'node:crypto';
import { buildMcubootImage } from '@holdfast/provisioning/firmware/flash/test-mcuboot-image';
import t, { type Test } from 'tap';
import { PortPair } from '../../port/port-pair.js';
import { flash } from '../flash.js';
import type { FlashProgress } from '../loader-protocol.js';
import { resetByDtr } from '../resets.js';
import { mcubootSmp } from './mcuboot-smp.js';
import {
  SimulatedMcuboot,
  type SimulatedMcubootOptions,
  type SimulatedSlot,
} from './simulated-mcuboot.js';

const part = { family: 'mcuboot', name: 'nrf52840' } as const;
const image = { bytes: buildMcubootImage({ version: '2.0.0+7' }) };

/** A board whose reset is wired to DTR. */
const setUp = (t: Test, options: SimulatedMcubootOptions = {}, slot?: SimulatedSlot) => {
  const pair = new PortPair();
  let garble = (bytes: Buffer): Buffer => bytes;
  const board: SimulatedMcuboot = new SimulatedMcuboot(
    {
      write: (bytes) => pair.far.write(garble(bytes)),
      start: (version, { write }) => {
        write(Buffer.from(`running ${version}\n`));
        return { receive: () => undefined, stop: () => undefined };
      },
      ...(slot !== undefined && { flash: slot }),
    },
    { windowMs: 1_000, ...options },
  );
  pair.far.onBytes((bytes) => board.receive(bytes));
  let wasOn = true;
  pair.far.onModemLines(({ dtr }) => {
    if (dtr && !wasOn) board.reset();
    wasOn = dtr;
  });
  const port = pair.open();
  t.teardown(async () => {
    await port.close();
    board.powerOff();
  });
  const said: FlashProgress[] = [];
  const write = (
    bytes = image.bytes,
    {
      reset = resetByDtr,
      attempts = 3,
      cutAt = Number.MAX_SAFE_INTEGER,
      unplugAt = Number.MAX_SAFE_INTEGER,
      on = port,
    } = {},
  ) => {
    const cut = new AbortController();
    return flash(
      { port: on, reset },
      { loader: mcubootSmp, part, baudRate: 115_200, image: { bytes } },
      {
        signal: AbortSignal.any([cut.signal, AbortSignal.timeout(20_000)]),
        attempts,
        onProgress: (progress) => {
          said.push(progress);
          if (progress.doneBytes >= cutAt) cut.abort(new Error('cut'));
          if (progress.doneBytes >= unplugAt) pair.unplug();
        },
      },
    );
  };
  return {
    pair,
    port,
    board,
    said,
    write,
    /** Over a port of its own. */
    reopen: async () => {
      await port.close();
      const another = pair.open();
      try {
        return await write(image.bytes, { on: another });
      } finally {
        await another.close();
      }
    },
    garbled: (change: (bytes: Buffer) => Buffer) => {
      garble = change;
    },
  };
};

t.test('uploads an image, sees it listed, and resets into it', async (t) => {
  const { board, write, said } = setUp(t, { windowMs: 300 });
  const report = await write();
  t.match(report, { loader: 'MCUboot', writtenBytes: image.bytes.length, keptBytes: 0 });
  t.equal(board.version, '2.0.0+7');
  t.equal(board.uploadedBytes, image.bytes.length);
  t.same(
    [...new Set(said.map(({ stage }) => stage))],
    ['reset', 'identify', 'compare', 'write', 'verify', 'leave'],
  );
  const written = said.flatMap(({ stage, doneBytes }) => (stage === 'write' ? [doneBytes] : []));
  t.same(
    written,
    [...written].sort((a, b) => a - b),
  );
  t.equal(written.at(-1), image.bytes.length);
});

t.test('writes nothing where the image is already', async (t) => {
  const { board, write } = setUp(t);
  board.burn(image.bytes);
  t.match(await write(), { writtenBytes: 0, keptBytes: image.bytes.length });
  t.equal(board.uploadedBytes, 0);
});

t.test('serves a loader that tells nothing of itself', async (t) => {
  const options = { listsHashes: false, knowsParameters: false, knowsSlots: false };
  const { board, write } = setUp(t, options);
  t.match(await write(), { writtenBytes: image.bytes.length });
  t.equal(board.version, '2.0.0+7');
});

t.test('uses a larger buffer where there is one', async (t) => {
  const { board, write } = setUp(t, { receiveBytes: 2_048 });
  await write();
  t.equal(board.version, '2.0.0+7');
});

const none = async () => undefined;

t.test('goes on where the upload stood when the loader was not reset', async (t) => {
  const { board, write } = setUp(t);
  board.reset(true);
  await t.rejects(write(image.bytes, { reset: none, cutAt: 2_000 }), { message: 'cut' });
  const before = board.uploadedBytes;
  t.ok(before >= 2_000 && before < image.bytes.length);
  t.equal(board.version, null);
  t.match(await write(image.bytes, { reset: none }), {
    keptBytes: before,
    writtenBytes: image.bytes.length - before,
  });
  t.equal(board.version, '2.0.0+7');
  t.equal(board.uploadedBytes, image.bytes.length);
});

t.test('begins anew where the upload that stood was of another image', async (t) => {
  const { board, write } = setUp(t);
  for (const bodyBytes of [6_000, 4_000, 9_000]) {
    board.reset(true);
    const other = buildMcubootImage({ version: '9.9.9', bodyBytes });
    await t.rejects(write(other, { reset: none, cutAt: 3_000 }), { message: 'cut' });
    t.match(await write(image.bytes, { reset: none }), { keptBytes: 0 });
    t.equal(board.version, '2.0.0+7');
  }
});

t.test(
  'a board that is cut off in the middle never runs half an image, and takes it later',
  async (t) => {
    const { board, write } = setUp(t, { windowMs: 200 });
    board.burn(buildMcubootImage({ version: '1.0.0' }));
    const { receive } = board;
    let lines = 0;
    board.receive = (bytes) => {
      lines += 1;
      if (lines === 12) board.reset();
      receive.call(board, bytes);
    };
    await write();
    board.receive = receive;
    t.equal(board.version, '2.0.0+7');
    t.same(board.started, []);
  },
);

t.test('a line that goes at any byte leaves a board that takes the image later', async (t) => {
  const { board, pair, reopen } = setUp(t);
  const { receive } = board;
  let bytes = 0;
  let goesAt = Number.MAX_SAFE_INTEGER;
  board.receive = (chunk) => {
    bytes += chunk.length;
    if (bytes >= goesAt) {
      goesAt = Number.MAX_SAFE_INTEGER;
      pair.unplug();
    } else receive.call(board, chunk);
  };
  for (let at = 10; at < 9_000; at += 450) {
    board.burn(buildMcubootImage({ version: '1.0.0' }));
    [bytes, goesAt] = [0, at];
    await t.rejects(reopen(), { code: 'SERIAL_LINE_DOWN' }, `at byte ${String(at)}`);
    t.ok([null, '1.0.0', '2.0.0+7'].includes(board.version));
    pair.plug();
    await reopen();
    t.equal(board.version, '2.0.0+7');
  }
});

t.test('outlives lost and garbled answers', async (t) => {
  const { board, write, garbled } = setUp(t);
  let answers = 0;
  garbled((bytes) => {
    answers += 1;
    if (answers % 4 !== 0) return bytes;
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(10) ^ 0x04, 10);
    return changed;
  });
  await write();
  t.equal(board.version, '2.0.0+7');
});

t.test('refuses before anything is erased what is no image or does not fit', async (t) => {
  const { board, write } = setUp(t);
  board.burn(buildMcubootImage({ version: '1.0.0' }));
  await t.rejects(write(Buffer.from('no image at all')), { code: 'FLASH_IMAGE_INVALID' });
  const large = buildMcubootImage({ version: '2.0.0', bodyBytes: 80_000 });
  await t.rejects(write(large), { code: 'FLASH_IMAGE_TOO_LARGE' });
  t.equal(board.version, '1.0.0');
});

t.test('says it when MCUboot does not take the signature', async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const { privateKey: another } = generateKeyPairSync('ed25519');
  const { board, write } = setUp(t, { publicKey });
  const bytes = buildMcubootImage({ version: '2.0.0', key: another });
  await t.rejects(write(bytes), { code: 'FLASH_VERIFY_FAILED', message: /another key/ });
  t.equal(board.version, null);
});

t.test('a line on which no loader answers', async (t) => {
  const { board, write } = setUp(t);
  board.powerOff();
  board.receive = () => undefined;
  await t.rejects(write(image.bytes, { attempts: 1 }), { code: 'FLASH_NO_BOOT_LOADER' });
});

t.test('a line that goes away', async (t) => {
  const { write } = setUp(t, { receiveBytes: 256 });
  await t.rejects(write(image.bytes, { unplugAt: 2_000 }), { code: 'SERIAL_LINE_DOWN' });
});
