/** A simulated boot loader that speaks STK500v1 as Optiboot does: whatever is out of step starts the application. */
import type { LoaderProgram, SimulatedBoard } from './simulated-board.js';

export const simulatedStk500v1 =
  ({ major = 4, minor = 4 } = {}) =>
  (board: SimulatedBoard): LoaderProgram =>
    speak(
      board,
      new Map([
        [0x81, major],
        [0x82, minor],
      ]),
    );

const end = 0x20;

function* speak(board: SimulatedBoard, parameters: Map<number, number>): LoaderProgram {
  let address = 0;
  for (;;) {
    const command = yield;
    let page: Buffer | null = null;
    let answer: Buffer = Buffer.alloc(0);
    if (command === 0x41) {
      answer = Buffer.from([parameters.get(yield) ?? 3]);
    } else if (command === 0x55) {
      const low = yield;
      address = 2 * (low + 256 * (yield));
    } else if (command === 0x64) {
      const size = yield* sizeOf();
      // At once, while the page is still on its way.
      board.erase(address);
      page = Buffer.alloc(size);
      for (let at = 0; at < size; at += 1) page[at] = yield;
    } else if (command === 0x74) {
      const size = yield* sizeOf();
      answer = board.flash.subarray(address, address + size);
    } else if (command === 0x75) {
      answer = board.signature;
    }
    if ((yield) !== end) return;
    if (page !== null) board.write(address, page);
    board.say(Buffer.from([0x14, ...answer, 0x10]));
    if (command === 0x51) return;
  }
}

/** Big-endian, and the kind of memory. */
function* sizeOf(): Generator<undefined, number, number> {
  const high = yield;
  const low = yield;
  yield;
  return 256 * high + low;
}
