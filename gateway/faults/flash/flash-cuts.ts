/** Where the power of a flash is cut: everywhere that something is in a state of its own. */
import type { CutMoment } from '@holdfast/devices/simulator/avr-board/avr-board';
import type { AvrBoardName } from '@holdfast/devices/simulator/avr-board/toolchain';

/** `board` loses its power, or its cable; `gateway` is killed; `both` at once. */
export type CutOf = 'board' | 'cable' | 'gateway' | 'both';

export type CutAt =
  /** The n-th erase or write of a page, of as many as a flash takes; by its share, since boards differ. */
  | { readonly stage: 'erase or write'; readonly share: number; readonly moment: CutMoment }
  /** So long after the last page was written: it is read back, left, started, and has yet to prove itself. */
  | { readonly stage: 'verify' | 'leave' | 'proof'; readonly afterMs: number };

export interface FlashCut {
  readonly board: AvrBoardName;
  readonly of: CutOf;
  readonly at: CutAt;
}

const boards: readonly AvrBoardName[] = ['optiboot', 'atmegaboot', 'stk500boot'];
const of: readonly CutOf[] = ['board', 'gateway', 'both', 'cable'];
const moments: readonly CutMoment[] = ['before', 'during', 'after'];

/** Pure. A hundred and eight of them. */
export const flashCuts = (): readonly FlashCut[] => {
  const pages = Array.from({ length: 6 }, (_, index): CutAt => {
    const moment = moments[index % moments.length] ?? 'before';
    return { stage: 'erase or write', share: index / 5, moment };
  });
  const ends: CutAt[] = [
    { stage: 'verify', afterMs: 0 },
    { stage: 'leave', afterMs: 100 },
    { stage: 'proof', afterMs: 400 },
  ];
  return boards.flatMap((board) =>
    of.flatMap((cut) => [...pages, ...ends].map((at): FlashCut => ({ board, of: cut, at }))),
  );
};

export const wordsOf = ({ board, of: cut, at }: FlashCut): string => {
  const where =
    at.stage === 'erase or write'
      ? `${at.moment} page operation ${Math.round(at.share * 100)} %`
      : `${at.stage}, after ${at.afterMs} ms`;
  return `${board}, ${cut}: ${where}`;
};
