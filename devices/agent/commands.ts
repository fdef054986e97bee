/**
 * Commands from the gateway: each done once and answered until the answer is acknowledged, over restarts.
 *
 * What is to be done is committed before it is done, its answer before it is sent. A command that was under way when the device stopped
 * is not done again: a reboot is then answered by its success, everything else by its interruption.
 */
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { CommandPayload, CommandResponsePayload } from '@holdfast/protos/mqtt/command-payload';
import { parseCommand } from '@holdfast/protos/mqtt/command-payload';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';

/** Does a command; what it gives is the result. */
export type CommandHandler = (payload: JsonValue) => Promise<JsonValue>;

/** What a device does with commands: this machine itself, or a microcontroller behind it. */
export interface DeviceCommands {
  /** At the start of this process. */
  started(): Promise<void>;
  /** What is the device to others was started again. */
  relaunched(): Promise<void>;
  connected(): void;
  receive(id: string, payload: Uint8Array): Promise<void>;
  /** When the session has ended. */
  close(): Promise<void>;
}

export interface CommandsDeps {
  readonly session: Pick<DeviceSession, 'publish'>;
  readonly log: Log;
  readonly handlers: ReadonlyMap<string, CommandHandler>;
  /** Begins a restart; its answer is given in the run that follows. */
  readonly reboot: () => Promise<void>;
  readonly bootId: () => string;
  /** Epoch ms as the gateway has it. */
  readonly now: () => number;
}

interface Entry {
  readonly id: string;
  /** The run it was begun in, for a reboot. */
  readonly boot: string;
  readonly isReboot: boolean;
  readonly response: CommandResponsePayload | null;
  readonly isAnswered: boolean;
}

/** A gateway repeats only what was never answered; this many back it is still known. */
const maxEntries = 200;

export const commandFilter = (device: string): string => `dt/${device}/commands/+`;

export class Commands implements DeviceCommands {
  readonly #deps: CommandsDeps;
  readonly #device: string;
  readonly #record: StoredRecord<readonly Entry[]>;
  readonly #sends = new Set<Promise<void>>();

  private constructor(deps: CommandsDeps, device: string, record: StoredRecord<readonly Entry[]>) {
    this.#deps = deps;
    this.#device = device;
    this.#record = record;
  }

  static async open(
    deps: CommandsDeps,
    options: { readonly device: string; readonly dataDir: string },
  ): Promise<Commands> {
    const record = await openRecord<readonly Entry[]>({
      path: join(options.dataDir, 'commands.json'),
      parse: (value) => v.parse(entriesSchema, value),
      initial: [],
      log: deps.log,
    });
    return new Commands(deps, options.device, record);
  }

  /** Ends what a run of this program before began: to be called at its start. */
  async started(): Promise<void> {
    await this.relaunched();
    for (const { id, response } of this.#record.data) {
      if (response !== null) continue;
      const error = 'the device stopped while it was under way';
      await this.#respond(id, { status: 'failed', error });
    }
  }

  /** What is the device to others was started again: a reboot is over. */
  async relaunched(): Promise<void> {
    const boot = this.#deps.bootId();
    for (const entry of this.#record.data) {
      if (entry.response !== null || !entry.isReboot || entry.boot === boot) continue;
      await this.#respond(entry.id, { status: 'succeeded', result: { boot } });
    }
  }

  /** Waits for the answers that are being sent: to be called when the session has ended. */
  async close(): Promise<void> {
    await Promise.all(this.#sends);
  }

  /** Sends every answer that was not acknowledged. */
  connected(): void {
    for (const { id, response, isAnswered } of this.#record.data) {
      if (response !== null && !isAnswered) this.#send(id, response);
    }
  }

  async receive(id: string, payload: Uint8Array): Promise<void> {
    const known = this.#record.data.find((entry) => entry.id === id);
    if (known !== undefined) {
      if (known.response !== null) this.#send(id, known.response);
      return;
    }
    const parsed = parseCommand(payload);
    const isReboot = parsed.ok && parsed.value.type === 'reboot';
    const entry = { id, boot: this.#deps.bootId(), isReboot, response: null, isAnswered: false };
    await this.#record.update((entries) => [...entries, entry].slice(-maxEntries));
    const refusal = parsed.ok
      ? this.#refusalOf(parsed.value)
      : ({ status: 'rejected', error: parsed.reason } as const);
    if (refusal !== null) await this.#respond(id, refusal);
    // Not awaited: the next message must not wait for what may take minutes.
    else if (parsed.ok) void this.#perform(id, parsed.value);
  }

  #refusalOf(command: CommandPayload): CommandResponsePayload | null {
    if (command.expires_at <= this.#deps.now()) return { status: 'expired' };
    const isKnown = command.type === 'reboot' || this.#deps.handlers.has(command.type);
    return isKnown ? null : { status: 'rejected', error: `This device knows no ${command.type}` };
  }

  async #perform(id: string, { type, payload = null }: CommandPayload): Promise<void> {
    try {
      if (type === 'reboot') {
        await this.#deps.reboot();
        return;
      }
      const result = (await this.#deps.handlers.get(type)?.(payload)) ?? null;
      await this.#respond(id, { status: 'succeeded', result });
    } catch (error) {
      await this.#respond(id, { status: 'failed', error: messageOf(error) }).catch(
        (failure: unknown) => this.#deps.log.error({ id, error: messageOf(failure) }, 'no answer'),
      );
    }
  }

  async #respond(id: string, response: CommandResponsePayload): Promise<void> {
    await this.#change(id, { response });
    this.#send(id, response);
  }

  #send(id: string, response: CommandResponsePayload): void {
    const topic = buildTopic({ kind: 'command_response', device: this.#device, command: id });
    const sent = this.#deps.session
      .publish(topic, response)
      .then(() => this.#change(id, { isAnswered: true }))
      .catch((error: unknown) =>
        // `connected` sends it again.
        this.#deps.log.info({ id, error: messageOf(error) }, 'the answer waits'),
      )
      .finally(() => this.#sends.delete(sent));
    this.#sends.add(sent);
  }

  #change(id: string, change: Partial<Entry>): Promise<void> {
    return this.#record.update((entries) =>
      entries.map((entry) => (entry.id === id ? { ...entry, ...change } : entry)),
    );
  }
}

const responseSchema = v.object({
  status: v.picklist(['accepted', 'in_progress', 'succeeded', 'failed', 'rejected', 'expired']),
  result: v.exactOptional(v.custom<JsonValue>((value) => value !== undefined)),
  error: v.exactOptional(v.string()),
});

const entriesSchema = v.array(
  v.object({
    id: v.string(),
    boot: v.string(),
    isReboot: v.boolean(),
    response: v.nullable(responseSchema),
    isAnswered: v.boolean(),
  }),
);
