/** One end of a shadow as the laws of the lanes (shadow-lanes-laws) see it: what each program brings, and the models of both. */
import type { ClockReading, HybridTime } from './hybrid-clock.js';
import type { ShadowOperation, ShadowState, ShadowWriteId } from './shadow-merge.js';

/** What one end tells the other of a change. */
export interface LaneEntry {
  readonly operations: readonly ShadowOperation[];
  readonly dead: readonly ShadowWriteId[];
  readonly isDeletion: boolean;
  /** Superseded by what is collected since: nothing but a conflict. */
  readonly lost?: readonly ShadowOperation[];
  /** All that the site has: where the control plane has something else, it answers with all that it has. */
  readonly isEverything?: boolean;
  /** Before this was all that a control plane has which was restored: the site tells all it has in turn. */
  readonly isResupplied?: boolean;
}

export interface EndContext {
  readonly replica: string;
  /** The highest time that the replica has seen. */
  readonly seen: HybridTime;
  readonly clock: ClockReading;
}

/** What became of it, and what the other end is told: undefined for nothing. */
export interface EndOutcome<S> {
  readonly shadow: S;
  readonly told?: LaneEntry | undefined;
}

/** One end of a shadow, as its program decides: pure. */
export interface ShadowEnd<S> {
  readonly nothing: S;
  readonly stateOf: (shadow: S) => ShadowState;
  readonly timeOf: (shadow: S) => HybridTime;
  /** A value in `desired`, or in `reported` at the site; without a value its deletion. */
  write(
    before: S,
    path: readonly string[],
    value: number | null,
    context: EndContext,
  ): EndOutcome<S>;
  /** Undefined where there is no shadow to delete. */
  remove(before: S, context: EndContext): EndOutcome<S> | undefined;
  receive(before: S, entry: LaneEntry, context: EndContext): EndOutcome<S>;
  /** What it tells an end that may have lost something. */
  everything(shadow: S, replica: string): LaneEntry;
}

/** The control plane's besides: what it does with what another gateway hands over. */
export interface CloudEnd<S> extends ShadowEnd<S> {
  receiveHandedOver(before: S, entry: LaneEntry, context: EndContext): EndOutcome<S>;
}
