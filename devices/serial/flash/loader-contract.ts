/** What holds for every boot loader that is written in pages, whatever it speaks: run by each protocol's test. */

import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { AvrPart } from '@holdfast/provisioning/firmware/flash/part';
import t from 'tap';
import { type FlashOptions, type FlashReport, flash } from './flash.js';
import type { FlashProgress, LoaderProtocol } from './loader-protocol.js';
import { type LoaderProgram, SimulatedBoard } from './simulated-board.js';
import { vectorFiller } from './vector-filler.js';

export interface LoaderUnderTest {
  /** Impatient: nothing here takes longer than the loop of events. */
  readonly loader: LoaderProtocol;
  readonly part: AvrPart;
  readonly program: (board: SimulatedBoard) => LoaderProgram;
  /** What the loader takes at the end of the flash. */
  readonly bootBytes: number;
  /** Whether a flash that was cut goes on where it was. */
  readonly resumes: boolean;
}

const pages = 12;

export const loaderContract = (under: LoaderUnderTest): void => {
  const { loader, part, program, bootBytes, resumes } = under;
  const loaderStart = part.flashBytes - bootBytes;
  const filler = vectorFiller(part.pageBytes, { loaderStart, flashBytes: part.flashBytes });
  const before = imageOf(1, part);
  const after = imageOf(2, part);
  const board = () => new SimulatedBoard({ part, program, flash: before.bytes });

  const write = async (
    on: SimulatedBoard,
    image: FlashImage,
    options: Partial<FlashOptions> = {},
  ): Promise<FlashReport> => {
    const port = on.pair.open();
    try {
      return await flash(
        { port, reset: on.reset },
        { loader, part, baudRate: 115_200, image },
        { signal: AbortSignal.timeout(20_000), attempts: 1, ...options },
      );
    } finally {
      await port.close();
    }
  };
  const holds = (on: SimulatedBoard, image: FlashImage) =>
    on.flash.subarray(0, image.bytes.length).equals(image.bytes);
  const leadsToLoader = (on: SimulatedBoard) => on.flash.subarray(0, part.pageBytes).equals(filler);
  /** What would start when the loader leaves: never an image that is not whole. */
  const watchHalves = (on: SimulatedBoard): readonly string[] => {
    const halves: string[] = [];
    on.onChange = () => {
      const first = on.flash.subarray(0, part.pageBytes);
      const isReplaced = first.every((byte) => byte === 0xff);
      if (isReplaced || first.equals(filler) || holds(on, before) || holds(on, after)) return;
      halves.push(`after ${on.writes.length} writes`);
    };
    return halves;
  };

  t.test(`${loader.name}: writes an image, reads it back and lets it start`, async (t) => {
    const on = board();
    const halves = watchHalves(on);
    const stages: FlashProgress[] = [];
    const report = await write(on, after, { onProgress: (progress) => stages.push(progress) });
    t.ok(holds(on, after));
    t.equal(report.writtenBytes, after.bytes.length);
    t.equal(report.signature, part.signature);
    t.notOk(on.isInLoader);
    t.same(halves, []);
    const seen = [...new Set(stages.map(({ stage }) => stage))];
    t.same(seen, ['reset', 'identify', 'compare', 'write', 'verify', 'leave']);
    t.ok(stages.every(({ doneBytes, totalBytes }) => doneBytes <= totalBytes));
    t.equal(
      on.flash.subarray(loaderStart).findIndex((byte) => byte !== 0xff),
      -1,
      'the loader',
    );
  });

  t.test(`${loader.name}: finds nothing to write where the image is there`, async (t) => {
    const on = board();
    const report = await write(on, before);
    t.same(on.writes, []);
    t.equal(report.keptBytes, before.bytes.length);
    t.equal(report.writtenBytes, 0);
  });

  t.test(`${loader.name}: syncs amid what the old application prints`, async (t) => {
    const on = board();
    const port = on.pair.open();
    const reset = async () => {
      on.say(`\u0014\u0010{"t":"telemetry","series":"noise","value":1}\n\u001b\u0001`);
      await on.reset(port, AbortSignal.timeout(1000));
      on.say(Buffer.from([0x00, 0xff, 0x14, 0x10, 0x14]));
    };
    const work = { loader, part, baudRate: 115_200, image: after };
    await flash({ port, reset }, work, { signal: AbortSignal.timeout(20_000) });
    t.ok(holds(on, after));
    await port.close();
  });

  t.test(`${loader.name}: writes nothing into another part`, async (t) => {
    const on = board();
    on.signature = Buffer.from('1e9000', 'hex');
    await t.rejects(write(on, after), { code: 'FLASH_PART_MISMATCH', data: { found: '1e9000' } });
    t.ok(holds(on, before));
    t.same(on.writes, []);
    t.notOk(on.isInLoader, 'its application goes on');
  });

  t.test(`${loader.name}: writes nothing where the loader itself stands`, async (t) => {
    const on = board();
    const large = { bytes: Buffer.alloc(loaderStart + 1, 0x11) };
    await t.rejects(write(on, large), { code: 'FLASH_IMAGE_TOO_LARGE' });
    t.same(on.writes, []);
    t.notOk(on.isInLoader, 'its application goes on');
  });

  t.test(`${loader.name}: leaves jumps to the loader where a page does not verify`, async (t) => {
    const on = board();
    const halves = watchHalves(on);
    // The lowest bit of a byte that the image wants cleared.
    on.wornAddress = after.bytes.findIndex((byte, at) => at > 5 * part.pageBytes && byte % 2 === 0);
    await t.rejects(write(on, after), { code: 'FLASH_VERIFY_FAILED' });
    t.ok(leadsToLoader(on));
    t.same(halves, []);
  });

  t.test(`${loader.name}: mends what the line garbled`, async (t) => {
    const on = board();
    const halves = watchHalves(on);
    let isGarbled = false;
    on.onByte = (byte) => {
      if (isGarbled || on.writes.length !== 4 || byte !== after.bytes[6 * part.pageBytes])
        return byte;
      isGarbled = true;
      return byte ^ 0x40;
    };
    await write(on, after, { attempts: 3 });
    t.ok(isGarbled);
    t.ok(holds(on, after));
    t.same(halves, []);
  });

  t.test(`${loader.name}: finds a page that went elsewhere`, async (t) => {
    const on = board();
    const halves = watchHalves(on);
    on.distort = (address, page) => {
      if (address !== 8 * part.pageBytes) return [address, page];
      on.distort = (...as) => as;
      return [2 * part.pageBytes, page];
    };
    await write(on, after);
    t.ok(holds(on, after));
    t.same(halves, []);
  });

  t.test(`${loader.name}: reads the first page back too`, async (t) => {
    const on = board();
    on.distort = (address, page) => {
      if (address !== 0 || filler.equals(page)) return [address, page];
      on.distort = (...as) => as;
      return [address, page.map((byte, at) => (at === 7 ? byte ^ 0x04 : byte))];
    };
    await write(on, after);
    t.ok(holds(on, after));
  });

  t.test(`${loader.name}: goes on after a loader that fell silent`, async (t) => {
    const on = board();
    let lost = 0;
    on.onByte = (byte) => {
      if (on.writes.length !== 5 || lost >= 3) return byte;
      lost += 1;
      return null;
    };
    await write(on, after, { attempts: 3 });
    t.equal(on.resets, 2);
    t.ok(holds(on, after));
  });

  t.test(`${loader.name}: survives a line that goes at any byte`, async (t) => {
    const whole = board();
    let bytes = 0;
    whole.onByte = (byte, count) => {
      bytes = count;
      return byte;
    };
    await write(whole, after);
    const step = Math.ceil(bytes / 40);
    for (let at = 1; at <= bytes; at += step) {
      const on = board();
      const halves = watchHalves(on);
      on.onByte = (byte, count) => {
        if (count === at) on.pair.unplug();
        return byte;
      };
      await t.rejects(write(on, after), { code: 'SERIAL_LINE_DOWN' }, `at byte ${at}`);
      on.pair.plug();
      await write(on, after);
      t.ok(holds(on, after), `whole after byte ${at}`);
      t.same(halves, []);
    }
  });

  t.test(
    `${loader.name}: ${resumes ? 'goes on where' : 'begins again after'} a flash was cut`,
    async (t) => {
      const on = board();
      on.onChange = () => {
        if (on.writes.length !== pages / 2) return;
        on.onChange = () => undefined;
        on.pair.unplug();
      };
      await t.rejects(write(on, after), { code: 'SERIAL_LINE_DOWN' });
      on.pair.plug();
      t.ok(leadsToLoader(on));
      const report = await write(on, after);
      t.ok(holds(on, after));
      t.equal(report.keptBytes > 0, resumes);
    },
  );

  t.test(`${loader.name}: stops when it is told, and can be begun again`, async (t) => {
    const on = board();
    const stop = new AbortController();
    on.onChange = () => {
      if (on.writes.length === 4) stop.abort(new Error('the window closed'));
    };
    await t.rejects(write(on, after, { signal: stop.signal }), { message: 'the window closed' });
    on.onChange = () => undefined;
    await write(on, after);
    t.ok(holds(on, after));
  });

  t.test(`${loader.name}: says so when no loader answers`, async (t) => {
    const on = board();
    on.onByte = () => null;
    await t.rejects(write(on, after, { attempts: 2 }), { code: 'FLASH_NO_BOOT_LOADER' });
    t.equal(on.resets, 2);
  });
};

/** No two pages alike, none erased. */
const imageOf = (seed: number, part: AvrPart): FlashImage => {
  const bytes = Buffer.alloc(pages * part.pageBytes - 10);
  for (let at = 0; at < bytes.length; at += 1)
    bytes[at] = (at * 31 + (at >> 8) * 7 + seed * 101) & 0xff;
  return { bytes };
};
