/**
 * The gateway's own inputs, relays and counters as a device of the site like any other: its relays are leaves of its shadow, its inputs are
 * reported, and both are telemetry. No rules of its own.
 *
 * The site decides, so it is not the control plane that these relays have to be in contact with: it is the site's own database. While that
 * takes what is written, somebody at the site can switch a relay off; once it does not, nobody can, and relays go safe after their time.
 */
import { randomUUID } from 'node:crypto';
import { stateDifference } from '@holdfast/devices/agent/state-difference';
import type { GpioLines } from '@holdfast/devices/gpio/gpio-lines';
import type { IoLineState } from '@holdfast/devices/gpio/io-deps';
import { IoLines } from '@holdfast/devices/gpio/io-lines';
import type { IoLine } from '@holdfast/devices/gpio/line-settings';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { DispatchDeviceEvent } from '../../devices/device-events.js';
import type { ShadowChange } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import type { Shadows } from '../../shadows/shadows.js';
import type { SiteStore } from '../../store/site-store.js';
import { GpioPoints } from './gpio-points.js';

export interface GpioDoorDeps {
  readonly gpio: GpioLines;
  readonly dispatch: DispatchDeviceEvent;
  readonly shadows: Pick<Shadows, 'get'>;
  readonly site: SiteStore;
  readonly fence: {
    check(): void;
    readonly reason: { readonly message: string } | undefined;
    onRaised(listener: (reason: { readonly message: string }) => void): () => void;
  };
  /** Throws when the device is out of service; `refusal` is why. */
  readonly lifecycles: { check(device: string): void; refusal(device: string): string | undefined };
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly wait?: Wait;
}

export interface GpioDoorOptions {
  readonly device: string;
  readonly lines: readonly IoLine[];
  /** Of the gateway. */
  readonly version: string;
  /** How often it is looked whether the database takes something, when nothing else is written. */
  readonly lookEveryMs?: number;
}

export const gpioModel = 'gateway-gpio';

/** After something failed. */
const retryAfterMs = 2_000;

export class GpioDoor implements ShadowListener {
  readonly #deps: GpioDoorDeps;
  readonly #options: Required<GpioDoorOptions>;
  readonly #io: IoLines;
  readonly #points: GpioPoints;
  readonly #boot = randomUUID();
  readonly #closing = new AbortController();
  /** What the shadow has as reported; undefined until it said so. */
  #known: JsonObject | undefined;
  #isOnline = false;
  #seq = 0;
  #wroteAt = Number.NEGATIVE_INFINITY;
  #arePointsTold = true;
  #sleep = new AbortController();
  #serving: Promise<void> | undefined;
  #stopFence: (() => void) | undefined;

  constructor(deps: GpioDoorDeps, options: GpioDoorOptions) {
    this.#deps = deps;
    this.#options = { lookEveryMs: 15_000, ...options };
    const { device, lines } = options;
    this.#points = new GpioPoints(async (series, points) => {
      await deps.dispatch({ type: 'telemetry', device, series, points });
    });
    this.#io = new IoLines(
      {
        gpio: deps.gpio,
        totals: totalsIn(deps),
        changed: () => this.#wake(),
        measured: (series, value, agoMs) => this.#measured(series, value, agoMs),
        log: deps.log,
        monotonic: () => deps.clock.monotonic(),
        ...(deps.wait !== undefined && { wait: deps.wait }),
      },
      { lines },
    );
  }

  get device(): string {
    return this.#options.device;
  }

  /** Relays go safe, and follow the shadow as soon as it is read. */
  open(): void {
    this.#stopFence ??= this.#deps.fence.onRaised(({ message }) => this.#io.hold(message));
    this.#io.open();
    this.#serving ??= this.#serve();
  }

  /** Resolves when relays are safe, lines are given back and totals are kept. Idempotent. */
  async close(): Promise<void> {
    this.#stopFence?.();
    this.#closing.abort();
    this.#sleep.abort();
    // Safety does not wait for a database.
    const closed = this.#io.close();
    await this.#serving;
    await closed;
    await this.#tellPoints();
    try {
      await this.#report();
    } catch (err) {
      this.#deps.log.warn({ err }, 'the last of the gateway’s own lines is not told');
    }
    await this.#leave();
  }

  states(): IoLineState[] {
    return this.#io.states();
  }

  /** What is desired may be another now. Told of every change of every shadow. */
  async shadowChanged({ device, name }: Pick<ShadowChange, 'device' | 'name'>): Promise<void> {
    if (device !== this.device || name !== classicShadow) return;
    // As it is by now, whichever change this was.
    await this.#readDesired();
  }

  /** Is out of service from now on, should it be this device. */
  refuse(device: string, error: Error): void {
    if (device === this.device) this.#io.hold(error.message);
  }

  /** `sendOnLine` of the commands: these lines have a shadow, and know no commands. */
  async sendCommand(device: string, command: string): Promise<void> {
    if (device !== this.device) return;
    const error = 'the lines of a gateway take no commands: desire what they are to be';
    const response = { status: 'rejected', error } as const;
    await this.#deps.dispatch({ type: 'command_answered', device, command, response });
  }

  /** `offerOnLine` of the updates: nothing can be installed on lines. */
  async offer(device: string, job: { readonly job_id: string }): Promise<void> {
    if (device !== this.device) return;
    const update = {
      status: 'rejected',
      error: 'the lines of a gateway have no firmware',
    } as const;
    await this.#deps.dispatch({
      type: 'job_updated',
      device,
      job: job.job_id,
      update,
      door: 'gpio',
    });
  }

  async #serve(): Promise<void> {
    const { wait = waitFor, log, fence, lifecycles } = this.#deps;
    let isWell = true;
    while (!this.#closing.signal.aborted) {
      this.#sleep = new AbortController();
      let againInMs = this.#options.lookEveryMs;
      try {
        this.#io.hold(fence.reason?.message ?? lifecycles.refusal(this.device) ?? null);
        await this.#lookInTime();
        this.#io.contact(true);
        isWell = true;
      } catch (err) {
        if (isWell) log.warn({ err }, 'the gateway’s own lines cannot be told');
        isWell = false;
        this.#wroteAt = Number.NEGATIVE_INFINITY;
        this.#io.contact(false);
        againInMs = retryAfterMs;
      }
      if (this.#closing.signal.aborted) return;
      await wait(againInMs, this.#sleep.signal).catch(() => undefined);
      // What comes at once is told at once; what follows is told together.
      if (this.#sleep.signal.aborted)
        await wait(coalesceMs, this.#closing.signal).catch(() => undefined);
    }
  }

  /** A database that says neither yes nor no is no contact either. */
  async #lookInTime(): Promise<void> {
    const { wait = waitFor } = this.#deps;
    const looked = new AbortController();
    wait(this.#options.lookEveryMs, looked.signal).then(
      () => this.#io.contact(false),
      () => undefined,
    );
    try {
      await this.#look();
    } finally {
      looked.abort();
    }
  }

  /** Throws when nothing can be written, or may be. */
  async #look(): Promise<void> {
    const { fence, lifecycles } = this.#deps;
    fence.check();
    lifecycles.check(this.device);
    await this.#arrive();
    if (this.#known === undefined) await this.#readDesired();
    await this.#tellPoints();
    const { site, clock } = this.#deps;
    const hasReported = await this.#report();
    // Where nothing was written for long, it is in doubt whether something can be.
    const isInDoubt = clock.monotonic() - this.#wroteAt >= this.#options.lookEveryMs;
    if (!hasReported && !isInDoubt) return;
    if (!hasReported) await totalsIn({ site, clock }).keep('', 0);
    this.#wroteAt = clock.monotonic();
  }

  /** Relays do not depend on telemetry. */
  async #tellPoints(): Promise<void> {
    try {
      await this.#points.flush();
      this.#arePointsTold = true;
    } catch (err) {
      if (this.#arePointsTold) {
        this.#deps.log.warn({ err }, 'measurements of the gateway’s own lines wait');
      }
      this.#arePointsTold = false;
    }
  }

  async #arrive(): Promise<void> {
    if (this.#isOnline) return;
    await this.#deps.dispatch({
      type: 'session',
      device: this.device,
      connected: true,
      session: this.#boot,
      door: 'gpio',
      model: gpioModel,
      firmwareVersion: this.#options.version,
    });
    this.#isOnline = true;
  }

  async #leave(): Promise<void> {
    if (!this.#isOnline) return;
    this.#isOnline = false;
    const { device } = this;
    await this.#deps
      .dispatch({ type: 'session', device, connected: false, session: this.#boot })
      .catch((err: unknown) => this.#deps.log.warn({ err }, 'a session is not told as over'));
  }

  async #readDesired(): Promise<void> {
    const view = await this.#deps.shadows.get({ device: this.device, name: classicShadow });
    this.#known ??= view?.state.reported ?? {};
    this.#io.desire(view?.state.desired);
  }

  /** Whether there was something to report. */
  async #report(): Promise<boolean> {
    if (this.#known === undefined) return false;
    const { reported } = this.#io;
    const state = stateDifference(this.#known, reported);
    if (state === null) return false;
    await this.#deps.dispatch({ type: 'state_reported', device: this.device, state });
    this.#known = reported;
    return true;
  }

  #measured(series: string, value: number, agoMs: number): void {
    const { clock } = this.#deps;
    this.#seq += 1;
    this.#points.add(series, {
      value,
      ...(clock.trusted && { ts: Math.round(clock.now() - agoMs) }),
      boot: this.#boot,
      seq: this.#seq,
    });
    this.#wake();
  }

  #wake(): void {
    this.#sleep.abort();
  }
}

const coalesceMs = 50;

/** The nameless counter is what the door writes to see whether it can. */
const totalsIn = ({ site, clock }: Pick<GpioDoorDeps, 'site' | 'clock'>) => ({
  read: async (name: string): Promise<number> => {
    const row = await site.read.get<{ total: number }>(
      'SELECT total FROM gpio_counters WHERE name = ?',
      [name],
    );
    return row?.total ?? 0;
  },
  keep: (name: string, total: number): Promise<void> =>
    site.commit([
      {
        sql: `INSERT INTO gpio_counters (name, total, kept_at) VALUES (?1, ?2, ?3)
              ON CONFLICT (name) DO UPDATE SET total = ?2, kept_at = ?3`,
        params: [name, total, clock.now()],
      },
    ]),
});
