/** What the shadow commands show, wherever it comes from. */
import type { LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { JsonObject } from '../../arguments.js';

export interface ShadowRow {
  readonly desired?: JsonObject | undefined;
  readonly reported?: JsonObject | undefined;
  readonly delta?: JsonObject | undefined;
  readonly version: number;
}

export interface ShadowNameRow {
  /** `-` for the classic one. */
  readonly shadow: string;
  readonly version: number;
  readonly update_time: Date | undefined;
  /** Open ones; undefined where that is not known. */
  readonly conflicts: number | undefined;
}

export interface WriteRow {
  /** Empty for a deletion that nobody remembers any more. */
  readonly writer: string;
  readonly time: Date | undefined;
  /** False: the writer's clock was not to be believed, and it wrote at some time after `time`. */
  readonly trusted: boolean;
  /** Empty for a deletion. */
  readonly value_json: string;
  /** Where that was, if above the conflict's place or below it. */
  readonly path?: readonly string[] | undefined;
}

export interface ConflictRow {
  readonly conflict: string;
  /** `devices/…/shadows/…`, in the cloud with its site before it. */
  readonly shadow: string;
  readonly path: readonly string[];
  readonly winner: WriteRow;
  readonly loser: WriteRow;
  readonly detect_time: Date | undefined;
  readonly settlement: SettlementRow | undefined;
}

export interface SettlementRow {
  readonly kept: 'winner' | 'loser' | 'other';
  readonly by: string;
  readonly time: Date | undefined;
}

export interface ChangeRow {
  /** Where a watch goes on from; opaque. */
  readonly position: string;
  readonly device: string;
  readonly shadow: string;
  readonly version: number;
  readonly time: Date;
  /** Whether the clock that gave `time` was to be believed. */
  readonly trusted: boolean;
  readonly writer: string;
  /** When it was written, where that was at the other end. */
  readonly write_time: Date | undefined;
  readonly deleted: boolean;
  readonly changes: readonly LeafChange[];
}
