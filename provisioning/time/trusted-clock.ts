/**
 * The clock of a gateway: the system's, as far as it is known to be right, put right where it is known to be wrong. It is never set from
 * here. What is known is decided by `clock-trust`; this one reads the clocks, asks the machine, stores the record and tells the journal.
 *
 * The floor is stored when what is known changes, at most every 15 minutes besides, and at the end.
 */
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoredRecord } from '../storage/record.js';
import type { StoreLog } from '../storage/store.js';
import type { StampingClock } from './clock.js';
import { type ClockRecord, floorOf, openClockRecord, recordOf } from './clock-record.js';
import {
  beginClock,
  type ClockDoubt,
  type ClockEffect,
  type ClockEvent,
  type ClockRules,
  type ClockSource,
  type ClockState,
  clockRules,
  doubtAt,
  nextClock,
  timeAt,
  whyNotAssert,
} from './clock-trust.js';
import { type MachineTime, machineTime } from './machine-time.js';

/** Which NTP is believed. Whoever is on the way can forge what is not authenticated: `any` is for a network that is trusted. */
export type NtpPolicy = 'authenticated' | 'any' | 'never';

export interface TrustedClockDeps {
  readonly log: StoreLog;
  readonly machine?: MachineTime;
}

export interface TrustedClockOptions {
  /** Of the record. */
  readonly path: string;
  readonly ntp: NtpPolicy;
  /** A time that has passed, epoch ms: that of the enrolment. */
  readonly floorMs: number;
  /** When the program was built, epoch ms; by default when its files were written. */
  readonly builtMs?: number;
  readonly rules?: ClockRules;
}

/** Where it is told what the clock is worth. Each resolves when it is on disk. */
export interface ClockJournal {
  clock(told: { boot: string; offset: number; source: ClockSource }): Promise<void>;
  doubted(doubt: { boot: string; reason: ClockDoubt; step: number }): Promise<void>;
}

export interface ClockStatus {
  readonly now: number;
  readonly trusted: boolean;
  readonly source: ClockSource | null;
  readonly doubt: ClockDoubt | null;
  /** To be added to the system's clock, ms. */
  readonly offset: number;
  readonly floor: number;
  /** How far off it may be, ms; it grows with the time since it was set. */
  readonly errorMs: number;
  readonly boot: string;
}

/** That what was taken for the time, from then to then, was so much before what it really was. Epoch ms and ms. */
export interface ClockCorrection {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

/** What an uncompensated quartz may drift. */
const driftPpm = 50;
const tickMs = 1_000;
const lookMs = { untrusted: 15_000, trusted: 600_000 };
/** What differs by less is not worth a write. */
const leastCorrectionMs = 60_000;
/** Doubts that wait for a journal that cannot be written. */
const mostDoubts = 16;

export class TrustedClock implements StampingClock {
  readonly boot: string;
  readonly #log: StoreLog;
  readonly #machine: MachineTime;
  readonly #record: StoredRecord<ClockRecord>;
  readonly #ntp: NtpPolicy;
  readonly #builtMs: number;
  readonly #rules: ClockRules;
  readonly #listeners = new Set<() => void>();
  readonly #correctionListeners = new Set<(correction: ClockCorrection) => void>();
  readonly #doubts: { boot: string; reason: ClockDoubt; step: number }[] = [];
  #state: ClockState;
  #setAt: number;
  #lookedAt: number;
  /** By the monotonic clock; undefined while the clock is trusted. */
  #unknownSince: number | undefined;
  /** What was taken for the time when it was last looked at. */
  #taken: { readonly time: number; readonly monotonic: number };
  #journal: ClockJournal | undefined;
  #telling: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  #saving: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  /** Use `openClock`. */
  constructor(
    deps: Required<TrustedClockDeps>,
    options: Required<TrustedClockOptions>,
    { boot, record, state }: Begun,
  ) {
    this.boot = boot;
    this.#log = deps.log;
    this.#machine = deps.machine;
    this.#record = record;
    this.#ntp = options.ntp;
    this.#builtMs = options.builtMs;
    this.#rules = options.rules;
    this.#state = state;
    this.#setAt = this.monotonic();
    this.#lookedAt = this.monotonic();
    this.#unknownSince = this.trusted ? undefined : this.monotonic();
    this.#taken = { time: this.now(), monotonic: this.monotonic() };
  }

  /** Epoch ms, whole. */
  now(): number {
    return Math.round(timeAt(this.#state, this.#machine.read(), this.#rules));
  }

  get trusted(): boolean {
    return doubtAt(this.#state, this.#machine.read(), this.#rules) === undefined;
  }

  /** Since the start of the machine. */
  monotonic(): number {
    return this.#machine.read().monotonic;
  }

  status(): ClockStatus {
    const reading = this.#machine.read();
    const { source, offset, floor, errorMs } = this.#state;
    const doubt = doubtAt(this.#state, reading, this.#rules) ?? null;
    const drift = ((reading.monotonic - this.#setAt) * driftPpm) / 1e6;
    return {
      now: this.now(),
      trusted: doubt === null,
      source,
      doubt,
      offset: Math.round(offset),
      floor,
      errorMs: Math.ceil(errorMs + drift),
      boot: this.boot,
    };
  }

  /** Told when the clock has become trusted, or ceased to be, or was set to another time. Returns how to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Told when the time turns out to be another than was taken for it while nobody knew: what was given a length of time meanwhile ends
   * that much later. Returns how to stop it.
   */
  onCorrected(listener: (correction: ClockCorrection) => void): () => void {
    this.#correctionListeners.add(listener);
    return () => this.#correctionListeners.delete(listener);
  }

  /** The control plane answered our question. Round trips that take long say little, and are not to be handed in. */
  receiveSigned(time: number, errorMs: number): void {
    this.#step({ type: 'signed', time, errorMs });
  }

  /** A signature found good says that it was made at that time. */
  noticeSigned(time: number): void {
    this.#step({ type: 'signature_seen', time });
  }

  /** The control plane's certificate has not begun to be valid, or has ceased, by this clock. */
  contradict(): void {
    this.#step({ type: 'contradicted' });
  }

  /** Throws as `assert` does, and changes nothing. */
  checkAssertion(time: number | null): void {
    const reading = this.#machine.read();
    switch (whyNotAssert(this.#state, time ?? reading.system, reading, this.#rules)) {
      case undefined:
        return;
      case 'known':
        throw new HoldfastError(
          'RESOURCE_STATE_WRONG',
          `The clock is set by ${this.#state.source === 'ntp' ? 'NTP' : 'the control plane'}, which knows better`,
        );
      case 'below_floor': {
        const floor = new Date(this.#state.floor).toISOString();
        throw new HoldfastError(
          'CLOCK_BELOW_FLOOR',
          `It is later than ${floor} by all that is known here; only the control plane can say otherwise`,
          { data: { floor: this.#state.floor } },
        );
      }
    }
  }

  /** Somebody at the site says what time it is; null: the system's clock is right. Errors: CLOCK_BELOW_FLOOR, RESOURCE_STATE_WRONG. */
  assert(time: number | null): void {
    this.checkAssertion(time);
    this.#step({ type: 'asserted', time });
  }

  /** Says where it is told from now on; what was to be told before is. */
  report(journal: ClockJournal): void {
    this.#journal = journal;
    this.#step({ type: 'ticked' });
    this.#tellDoubts();
  }

  /** Looks at the clocks now; its own timer does so every second. */
  tick(): void {
    this.#step({ type: 'ticked' });
    const since = this.monotonic() - this.#lookedAt;
    if (since >= (this.trusted ? lookMs.trusted : lookMs.untrusted)) void this.look();
  }

  /** Asks the machine whether its clock is synchronised. Never rejects; one at a time. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async start(): Promise<void> {
    await this.look();
    this.tick();
    this.#timer = setInterval(() => this.tick(), tickMs).unref();
  }

  /** Stores the floor. Idempotent. */
  async close(): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#looking;
    await this.#telling;
    const isRaised = this.trusted && this.#state.source !== 'operator';
    if (isRaised) this.#state = { ...this.#state, floor: Math.max(this.#state.floor, this.now()) };
    this.#save();
    await this.#saving;
  }

  async #look(): Promise<void> {
    this.#lookedAt = this.monotonic();
    if (this.#ntp === 'never') return;
    const ntp = await this.#machine.ntp();
    if (ntp === null || !(ntp.authenticated || this.#ntp === 'any')) return;
    this.#step({ type: 'synchronised', errorMs: ntp.errorMs });
  }

  #step(event: ClockEvent): void {
    const before = this.#state;
    const { state, effects } = nextClock(before, event, this.#machine.read(), this.#rules);
    this.#state = state;
    if (
      state.errorMs !== before.errorMs ||
      event.type === 'signed' ||
      event.type === 'synchronised'
    ) {
      this.#setAt = this.monotonic();
    }
    for (const effect of effects) this.#perform(effect);
    this.#correct();
    const change = effects.find((effect) => effect.do === 'trust' || effect.do === 'doubt');
    if (change === undefined) return;
    this.#unknownSince = change.do === 'trust' ? undefined : this.monotonic();
    tell(this.#listeners, undefined, this.#log);
  }

  /** While nobody knows the time, what is taken for it may turn out wrong more than once: by a signature, by whoever sets the system's. */
  #correct(): void {
    const { time, monotonic } = this.#taken;
    this.#taken = { time: this.now(), monotonic: this.monotonic() };
    const to = Math.round(time + this.#taken.monotonic - monotonic);
    const step = this.#taken.time - to;
    const since = this.#unknownSince;
    if (since === undefined || Math.abs(step) < leastCorrectionMs) return;
    const from = Math.floor(to - (this.#taken.monotonic - since));
    tell(this.#correctionListeners, { from, to, step }, this.#log);
  }

  #perform(effect: ClockEffect): void {
    switch (effect.do) {
      case 'save':
        this.#save();
        return;
      case 'trust':
        this.#log.info({ source: effect.source, step: effect.step }, 'the clock is trusted');
        return;
      case 'doubt': {
        const { reason, step } = effect;
        this.#log.warn({ reason, step }, 'the clock is not trusted: nothing expires by it');
        this.#doubts.push({ boot: this.boot, reason, step });
        this.#doubts.splice(0, this.#doubts.length - mostDoubts);
        this.#tellDoubts();
        return;
      }
      case 'tell':
        this.#tell({ boot: this.boot, offset: effect.offset, source: effect.source });
    }
  }

  /** What cannot be written is told at a later tick: it stays untold until it was. */
  #tell(told: { boot: string; offset: number; source: ClockSource }): void {
    const journal = this.#journal;
    if (journal === undefined || this.#telling !== undefined) return;
    this.#telling = journal
      .clock(told)
      .then(
        () => this.#step({ type: 'told', offset: told.offset }),
        (error: unknown) => this.#untold(error),
      )
      .finally(() => {
        this.#telling = undefined;
      });
  }

  #tellDoubts(): void {
    const journal = this.#journal;
    if (journal === undefined) return;
    for (const doubt of this.#doubts.splice(0)) {
      journal.doubted(doubt).catch((error: unknown) => this.#untold(error));
    }
  }

  #untold(error: unknown): void {
    this.#log.warn({ reason: messageOf(error) }, 'the journal could not be told of the clock');
  }

  #save(): void {
    const record = recordOf(this.#state, this.#builtMs, this.boot);
    this.#saving = this.#record
      .update(() => record)
      .catch((error: unknown) => {
        this.#log.warn({ reason: messageOf(error) }, 'the record of the clock could not be stored');
      });
  }
}

const tell = <T>(listeners: Iterable<(news: T) => void>, news: T, log: StoreLog): void => {
  for (const listener of listeners) {
    try {
      listener(news);
    } catch (error) {
      log.error({ err: error }, 'a part could not take up the time');
    }
  }
};

interface Begun {
  readonly boot: string;
  readonly record: StoredRecord<ClockRecord>;
  readonly state: ClockState;
}

/** Opens the clock: what is kept, what the machine says, and from then on what happens. Never fails for want of time. */
export const openClock = async (
  { log, machine = machineTime() }: TrustedClockDeps,
  options: TrustedClockOptions,
): Promise<TrustedClock> => {
  const { path, floorMs, builtMs = writtenAt(), rules = clockRules } = options;
  const record = await openClockRecord(path, log);
  const boot = await machine.boot();
  const rtc = await machine.rtc();
  const kept = record.data.boot;
  const before = kept?.id === boot ? kept : undefined;
  const floor = floorOf(record.data, builtMs, floorMs);
  const state = beginClock({ floor, before, rtc }, machine.read(), rules);
  const clock = new TrustedClock(
    { log, machine },
    { ...options, builtMs, rules },
    { boot, record, state },
  );
  await clock.start();
  return clock;
};

/** When this file was written: by the build, or by the installation of one. */
const writtenAt = (): number => Math.floor(statSync(fileURLToPath(import.meta.url)).mtimeMs);
