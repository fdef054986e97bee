/** A simulated boot loader that speaks STK500v2 as stk500boot does: with each page that it writes it erases the next one in their order. */
import type { LoaderProgram, SimulatedBoard } from './simulated-board.js';
import { encodeMessage } from './stk500v2-message.js';

/** `erasesChip`: what stk500boot only takes for the beginning of a run erases all pages, as a programmer would. */
export const simulatedStk500v2 =
  ({ erasesChip = false } = {}) =>
  (board: SimulatedBoard): LoaderProgram =>
    speak(board, erasesChip);

const ok = 0x00;
const failed = 0xc0;

function* speak(board: SimulatedBoard, erasesChip: boolean): LoaderProgram {
  const state = { address: 0, eraseAddress: 0 };
  for (;;) {
    const { sequence, body } = yield* message();
    const command = body[0] ?? 0;
    if (command === 0x12 && erasesChip) {
      for (let page = 0; page < board.part.flashBytes; page += board.part.pageBytes) {
        board.erase(page);
      }
    }
    const answer = carryOut(board, state, body);
    board.say(encodeMessage(sequence, Buffer.from([command, ...answer])));
    if (command === 0x11) return;
  }
}

function* message(): Generator<undefined, { sequence: number; body: Buffer }, number> {
  for (;;) {
    if ((yield) !== 0x1b) continue;
    const sequence = yield;
    const high = yield;
    const low = yield;
    if ((yield) !== 0x0e) continue;
    const body = Buffer.alloc(256 * high + low);
    for (let at = 0; at < body.length; at += 1) body[at] = yield;
    if (encodeMessage(sequence, body).at(-1) === (yield)) return { sequence, body };
  }
}

const carryOut = (
  board: SimulatedBoard,
  state: { address: number; eraseAddress: number },
  body: Buffer,
): readonly number[] => {
  const size = body.length >= 3 ? body.readUInt16BE(1) : 0;
  switch (body[0]) {
    case 0x01:
      return [ok, 8, ...Buffer.from('AVRISP_2')];
    case 0x03:
      return [ok, body[1] === 0x91 ? 2 : 10];
    case 0x06:
      state.address = 2 * body.readUInt32BE(1);
      return [ok];
    case 0x12:
      state.eraseAddress = 0;
      return [failed];
    case 0x13:
      board.erase(state.eraseAddress);
      state.eraseAddress += board.part.pageBytes;
      board.write(state.address, body.subarray(10, 10 + size));
      state.address += size;
      return [ok];
    case 0x14: {
      const read = board.flash.subarray(state.address, state.address + size);
      state.address += size;
      return [ok, ...read, ok];
    }
    case 0x1d:
      return [ok, 0, body[4] ?? 0, 0, board.signature[body[6] ?? 0] ?? 0, ok];
    default:
      return [body[0] === 0x11 ? ok : failed];
  }
};
