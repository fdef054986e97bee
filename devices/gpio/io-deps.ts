/** What the lines of a machine need of the program that they belong to, a gateway or an agent. */
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { Wait } from '@holdfast/provisioning/time/wait';
import type { GpioLines } from './gpio-lines.js';

export interface IoLog {
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
}

/** Totals of counters, on disk. */
export interface CounterTotals {
  /** 0 for one that never counted. */
  read(name: string): Promise<number>;
  /** Resolves when it is on disk. */
  keep(name: string, total: number): Promise<void>;
}

export interface IoDeps {
  readonly gpio: GpioLines;
  readonly totals: CounterTotals;
  /** What lines say of themselves is another now: `reported` of the whole has it. */
  readonly changed: () => void;
  /** A measurement, and how long ago it was. */
  readonly measured: (series: string, value: number, agoMs: number) => void;
  readonly log: IoLog;
  /** Ms that never run back. */
  readonly monotonic: () => number;
  readonly wait?: Wait;
}

/** A line as people are shown it. */
export interface IoLineState {
  readonly name: string;
  readonly role: string;
  /** Why it does not work; null while it does. */
  readonly problem: string | null;
  /** What it is, in a word or two. */
  readonly state: string;
}

/** One line with its role. */
export interface IoPart {
  readonly name: string;
  open(): void;
  close(): Promise<void>;
  /** Its leaf of the shadow; undefined where it has none, or nobody knows. */
  readonly reported: JsonValue | undefined;
  readonly state: IoLineState;
}
