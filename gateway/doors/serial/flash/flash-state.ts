/** The words in which a line's flashing is told: what is committed of it, what can happen to it, what there is to do. */

/** What stands in a microcontroller's flash, or is to. */
export interface LineImage {
  readonly model: string;
  readonly version: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** On whose behalf: one offer of a campaign's execution (another attempt is another offer), or a person at the site. */
export type FlashRun =
  | { readonly kind: 'job'; readonly job: string; readonly offer: number }
  | { readonly kind: 'hand'; readonly by: string; readonly at: number };

/** The board may hold half an image; nothing of it runs until it is whole. */
export interface Damage {
  /** What is written where nobody wants anything else: what ran before, if it is known, or else what was begun. */
  readonly mend: LineImage;
}

interface Writing {
  readonly image: LineImage;
  /** What ran before; null where that is not known, or is this image. */
  readonly former: LineImage | null;
}

export type Flash =
  | { readonly phase: 'idle' }
  /** Nothing was done yet: `checking` looks at the release and its bytes, `waiting` has yet to be let begin. */
  | {
      readonly phase: 'checking' | 'waiting';
      readonly run: FlashRun;
      readonly image: LineImage;
      readonly damage: Damage | null;
    }
  /** A byte of it may have been written: from here on it goes on, whoever wants it no more. `run` null: for the board's sake alone. */
  | ({ readonly phase: 'writing'; readonly run: FlashRun | null } & Writing)
  /** It is written and verified, and the application was started; `isUp` once it said hello. */
  | ({
      readonly phase: 'proving';
      readonly run: FlashRun | null;
      readonly isUp: boolean;
    } & Writing)
  /** The board stayed mute: what ran before is written (`restoring`), then has to say hello (`returning`). */
  | {
      readonly phase: 'restoring' | 'returning';
      readonly run: FlashRun | null;
      readonly image: LineImage;
      readonly failed: LineImage;
      readonly why: string;
    }
  /** It is over, and that is yet to be told. */
  | {
      readonly phase: 'settled';
      readonly run: FlashRun;
      readonly outcome: FlashOutcome;
      readonly error: string;
      readonly damage: Damage | null;
    };

export type FlashOutcome = 'failed' | 'rolled_back' | 'cancelled';

export interface FlashState {
  readonly flash: Flash;
  /** What was flashed here and has run since; null when it is not known. */
  readonly running: LineImage | null;
}

export const unflashed: FlashState = { flash: { phase: 'idle' }, running: null };

export type FlashEvent =
  /** An attempt of a campaign, or a person, wants this image in the board. */
  | { readonly type: 'offered'; readonly run: FlashRun; readonly image: LineImage }
  /** The release is trusted and fits, and its bytes are those that were signed. */
  | { readonly type: 'checked' }
  /** It does not fit, is not what was signed, or is not trusted any more. */
  | { readonly type: 'refused'; readonly error: string }
  /** The next byte is written; `former` is what ran until now, as far as the site can write it again. */
  | { readonly type: 'began'; readonly former: LineImage | null }
  /** All of it stands in the board, verified, and the application was started. */
  | { readonly type: 'written' }
  /** The board is at fault: no boot loader answers, another part, a page that does not hold. */
  | { readonly type: 'failed'; readonly error: string }
  /** The application said what it is. */
  | { readonly type: 'hello'; readonly version: string }
  /** It had its time to say so, on a line that is up; `restorable`: what ran before is in the cache. */
  | { readonly type: 'silent'; readonly restorable: boolean }
  /** Its campaign takes it back while that can be done. */
  | { readonly type: 'cancelling'; readonly run: FlashRun }
  /** The attempt is over, or is not this one any more. */
  | { readonly type: 'ended'; readonly run: FlashRun; readonly succeeded: boolean }
  /** What was settled is told. */
  | { readonly type: 'told' };

export const isSameRun = (a: FlashRun | null, b: FlashRun | null): boolean => {
  if (a === null || b === null) return a === b;
  if (a.kind === 'job') return b.kind === 'job' && a.job === b.job && a.offer === b.offer;
  return b.kind === 'hand' && a.by === b.by && a.at === b.at;
};
