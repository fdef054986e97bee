/** What can happen to a shadow, and what comes of it. */
import { maxShadowDepth, type ShadowErrorCode } from '@holdfast/protos/mqtt/shadow-payload';
import type { ConflictRule } from '@holdfast/protos/semantics/conflict-policy';
import type {
  ConflictKeep,
  ConflictSettlement,
} from '@holdfast/protos/semantics/conflict-settlement';
import type { ClockReading, HybridTime } from '@holdfast/protos/semantics/hybrid-clock';
import { type ShadowPatch, shadowBytes } from '@holdfast/protos/semantics/shadow-document';
import { mostLosers } from '@holdfast/protos/semantics/shadow-limits';
import type {
  ShadowOperation,
  ShadowPath,
  ShadowWriteId,
} from '@holdfast/protos/semantics/shadow-merge';
import type { StoredShadow } from './stored-shadow.js';

/** `device:<id>` writes both sections, `site:<person>` and `cloud` write `desired` alone. */
export type ShadowWriter = `device:${string}` | `site:${string}` | 'cloud';

export type ShadowEvent =
  | {
      readonly type: 'update';
      readonly writer: ShadowWriter;
      /** null empties both sections (a writer other than the device: the one it may write). */
      readonly patch: ShadowPatch | null;
      /** The update is refused unless this is the version. */
      readonly version?: number;
    }
  | { readonly type: 'delete'; readonly writer: ShadowWriter; readonly version?: number }
  /** What the control plane wrote, and which of ours it has merged and done with. */
  | {
      readonly type: 'merge';
      readonly operations: readonly ShadowOperation[];
      readonly dead: readonly ShadowWriteId[];
      /** Superseded there, by what may be forgotten since. */
      readonly lost?: readonly ShadowOperation[];
      /** Whether it deleted the shadow as a whole. */
      readonly isDeletion?: boolean;
    }
  /** A person ends a conflict: the value of one side is written again, knowing both. */
  | {
      readonly type: 'settle';
      readonly writer: ShadowWriter;
      readonly path: ShadowPath;
      readonly keep: ConflictKeep;
      /** Which one, where several are open at the path. */
      readonly conflict?: string;
      readonly version?: number;
    }
  /** Losers that are too old, or too many. */
  | { readonly type: 'forget'; readonly losers: ReadonlySet<string> };

export interface ShadowLimits {
  /** Both sections as JSON, without metadata. AWS IoT: 8 KB, raisable to 30. */
  readonly maxDocumentBytes: number;
  readonly maxDepth: number;
  /** Leaves and deletions that the control plane has not confirmed yet. */
  readonly maxLeaves: number;
  /** Losers of conflicts that a shadow holds: what every change of it reads and writes. */
  readonly maxLosers: number;
}

export const defaultShadowLimits: ShadowLimits = {
  maxDocumentBytes: shadowBytes.default,
  maxDepth: maxShadowDepth,
  maxLeaves: 1_000,
  maxLosers: mostLosers,
};

export interface ShadowContext {
  /** As refusals call it. */
  readonly name: string;
  /** As rules call it. */
  readonly shadow: string;
  readonly rules: readonly ConflictRule[];
  readonly replica: string;
  readonly seen: HybridTime;
  readonly clock: ClockReading;
  readonly limits: ShadowLimits;
}

export type ShadowDecision =
  | { readonly kind: 'refused'; readonly code: ShadowErrorCode; readonly message: string }
  /** What came was known already: nothing to store, nobody to tell. */
  | { readonly kind: 'unchanged' }
  | {
      readonly kind: 'changed';
      readonly shadow: StoredShadow;
      /** What was minted here, to be told to the control plane. */
      readonly operations: readonly ShadowOperation[];
      /** What is told to it besides: operations that hold nothing here any more. */
      readonly dead: readonly ShadowWriteId[];
      readonly isDeletion: boolean;
      /** Everything that was merged and minted: by whom what is visible changed. */
      readonly applied: readonly ShadowOperation[];
      readonly settled: readonly ConflictSettlement[];
      /** Open conflicts that had to go, by their losers. */
      readonly dropped: ReadonlySet<string>;
    };

export const changedTo = (
  change: Pick<ChangedShadow, 'shadow'> & Partial<Omit<ChangedShadow, 'kind' | 'shadow'>>,
): ChangedShadow => ({
  kind: 'changed',
  operations: [],
  dead: [],
  isDeletion: false,
  applied: [],
  settled: [],
  dropped: new Set(),
  ...change,
});

export type ChangedShadow = ShadowDecision & { readonly kind: 'changed' };

export const refused = (code: ShadowErrorCode, message: string): ShadowDecision => ({
  kind: 'refused',
  code,
  message,
});
