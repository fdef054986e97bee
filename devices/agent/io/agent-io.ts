/**
 * The inputs, relays and counters of a device's own machine: leaves of its shadow under `gpio`, and telemetry.
 *
 * Contact is the session with the gateway, and a shadow that was answered in it: what was desired before it began is not followed, since
 * nobody knows whether it still holds. Without contact relays go safe after their time.
 */
import { join } from 'node:path';
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { openRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { GpioLines } from '../../gpio/gpio-lines.js';
import { IoLines } from '../../gpio/io-lines.js';
import { type ConfiguredLine, checkLines, ioLinesOf } from '../../gpio/line-settings.js';
import type { Log } from '../log.js';

export interface AgentIoDeps {
  readonly gpio: GpioLines;
  /** What it reports is another now. */
  readonly changed: () => void;
  readonly measured: (series: string, value: number, agoMs: number) => void;
  readonly log: Log;
}

export interface AgentIoOptions {
  readonly lines: readonly ConfiguredLine[];
  readonly dataDir: string;
}

/** Totals of counters by name. */
const totalsSchema = v.record(v.string(), v.pipe(v.number(), v.safeInteger(), v.minValue(0)));

export class AgentIo {
  readonly #io: IoLines;
  #isConnected = false;

  private constructor(io: IoLines) {
    this.#io = io;
  }

  /** Errors: CONFIGURATION_INVALID for lines that cannot stand together. */
  static async open(deps: AgentIoDeps, { lines, dataDir }: AgentIoOptions): Promise<AgentIo> {
    checkLines(lines);
    const totals = await openRecord({
      path: join(dataDir, 'gpio-counters.json'),
      parse: (value) => v.parse(totalsSchema, value),
      initial: {},
      log: deps.log,
    });
    const io = new IoLines(
      {
        ...deps,
        totals: {
          read: async (name) => new Map(Object.entries(totals.data)).get(name) ?? 0,
          keep: (name, total) => totals.update((kept) => ({ ...kept, [name]: total })),
        },
        monotonic: () => performance.now(),
      },
      { lines: ioLinesOf(lines) },
    );
    return new AgentIo(io);
  }

  /** Relays go safe, and lines say what they have to, so whoever hears that has to be there. */
  start(): void {
    this.#io.contact(false);
    this.#io.open();
  }

  /** What is true of the lines, for the shadow. */
  get reported(): JsonObject {
    return this.#io.reported;
  }

  connected(): void {
    this.#isConnected = true;
  }

  disconnected(): void {
    this.#isConnected = false;
    this.#io.contact(false);
  }

  /** What the gateway says is desired of the lines, all of it. */
  desire(desired: JsonValue | undefined): void {
    this.#io.desire(desired);
    if (this.#isConnected) this.#io.contact(true);
  }

  /** Relays go safe, totals are kept. Idempotent. */
  close(): Promise<void> {
    return this.#io.close();
  }
}
