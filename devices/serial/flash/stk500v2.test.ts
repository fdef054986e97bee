import type { AvrPart } from '@holdfast/provisioning/firmware/flash/part';
import { avrParts } from '@holdfast/provisioning/firmware/flash/parts';
import t from 'tap';
import { flash } from './flash.js';
import { loaderContract } from './loader-contract.js';
import { SimulatedBoard } from './simulated-board.js';
import { simulatedStk500v2 } from './simulated-stk500v2.js';
import { stk500v2With } from './stk500v2.js';
import { decodeMessage, encodeMessage } from './stk500v2-message.js';
import { vectorFiller } from './vector-filler.js';

const loader = stk500v2With({ startMs: 0, knockMs: 60, answerMs: 60 });
const part = avrParts.find(({ name }) => name === 'atmega2560') as AvrPart;

loaderContract({ loader, part, program: simulatedStk500v2(), bootBytes: 8192, resumes: false });

t.test(
  'a loader that erases all of it where a run begins is left without an application',
  async (t) => {
    const board = new SimulatedBoard({ part, program: simulatedStk500v2({ erasesChip: true }) });
    const writing = flash(
      { port: board.pair.open(), reset: board.reset },
      { loader, part, baudRate: 115_200, image: { bytes: Buffer.alloc(1000, 0x22) } },
      { signal: AbortSignal.timeout(20_000), attempts: 1 },
    );
    await t.rejects(writing, { code: 'FLASH_VERIFY_FAILED' });
    const filler = vectorFiller(part.pageBytes, {
      loaderStart: part.flashBytes - 8192,
      flashBytes: part.flashBytes,
    });
    t.ok(board.flash.subarray(0, part.pageBytes).equals(filler));
  },
);

t.test('a message is found past noise, and only whole', async (t) => {
  const body = Buffer.from([0x01, 0x1b, 0x0e]);
  const message = encodeMessage(7, body);
  const noise = Buffer.from([0x00, 0x1b, 0x02, 0x00, 0x1b]);
  t.same(decodeMessage(Buffer.concat([noise, message])), { sequence: 7, body });
  for (let length = 0; length < message.length; length += 1) {
    t.equal(decodeMessage(message.subarray(0, length)), null);
  }
  for (let at = 0; at < message.length; at += 1) {
    const garbled = Buffer.from(message);
    garbled[at] = (garbled[at] ?? 0) ^ 0x10;
    t.equal(decodeMessage(garbled), null, `byte ${at}`);
  }
});
