import type { AvrPart } from '@holdfast/provisioning/firmware/flash/part';
import { avrParts, partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t from 'tap';
import { flash } from './flash.js';
import { loaderContract } from './loader-contract.js';
import { SimulatedBoard } from './simulated-board.js';
import { simulatedStk500v1 } from './simulated-stk500v1.js';
import { stk500v1With } from './stk500v1.js';

const loader = stk500v1With({ startMs: 0, knockMs: 60, quietMs: 3, answerMs: 60 });
const part = avrParts.find(({ name }) => name === 'atmega328p') as AvrPart;

loaderContract({ loader, part, program: simulatedStk500v1(), bootBytes: 512, resumes: true });

t.test('the older loader takes more of the flash', async (t) => {
  const board = new SimulatedBoard({ part, program: simulatedStk500v1({ major: 1, minor: 16 }) });
  const write = (bytes: number) =>
    flash(
      { port: board.pair.open(), reset: board.reset },
      { loader, part, baudRate: 57_600, image: { bytes: Buffer.alloc(bytes, 0x22) } },
      { signal: AbortSignal.timeout(20_000), attempts: 1 },
    );
  await t.rejects(write(30 * 1024 + 1), { code: 'FLASH_IMAGE_TOO_LARGE' });
  t.same(board.writes, []);
});

t.test('a garbled address destroys no page that was there already', async (t) => {
  const bytes = Buffer.from(Array.from({ length: 12 * part.pageBytes }, (_, at) => (at * 31) >> 3));
  const board = new SimulatedBoard({ part, program: simulatedStk500v1(), flash: bytes });
  // An earlier attempt has left all but its start, and one page in the middle.
  board.flash.fill(0x55, 0, part.pageBytes);
  board.flash.fill(0x55, 5 * part.pageBytes, 6 * part.pageBytes);
  const sent: number[] = [];
  let isGarbled = false;
  board.onByte = (byte) => {
    sent.push(byte);
    // Of page 9, in words: one bit less makes it page 1.
    if (isGarbled || sent.slice(-3).join() !== '85,64,2') return byte;
    isGarbled = true;
    return 0;
  };
  await flash(
    { port: board.pair.open(), reset: board.reset },
    { loader, part, baudRate: 115_200, image: { bytes } },
    { signal: AbortSignal.timeout(20_000), attempts: 1 },
  );
  t.ok(isGarbled);
  t.ok(board.flash.subarray(0, bytes.length).equals(bytes));
});

t.test('a part behind MCUboot is none of its', async (t) => {
  const board = new SimulatedBoard({ part, program: simulatedStk500v1() });
  const other = partNamed('mcuboot-smp', 'anything');
  const opening = loader.open(board.pair.open(), other, AbortSignal.timeout(1_000));
  await t.rejects(opening, { code: 'FLASH_PART_UNKNOWN' });
});
