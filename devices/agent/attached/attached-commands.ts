/**
 * Commands for a microcontroller: kept until it has answered, sent again over every break of its line and of this process, and its answer
 * kept until the gateway has it. It does each once, by its id.
 */
import { join } from 'node:path';
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  type CommandPayload,
  type CommandResponsePayload,
  parseCommand,
} from '@holdfast/protos/mqtt/command-payload';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { SerialCommand, SerialResponse } from '../../serial/serial-driver.js';
import type { DeviceCommands } from '../commands.js';
import type { Log } from '../log.js';
import type { DeviceSession } from '../session.js';

export interface AttachedCommandsDeps {
  readonly session: Pick<DeviceSession, 'publish'>;
  /** Sends it until it is answered or over; nothing happens while the microcontroller is away. */
  readonly send: (command: SerialCommand) => Promise<void>;
  /** It needs to be sent no more. */
  readonly answered: (id: string) => void;
  /** Whether that time, epoch ms, is over for sure. */
  readonly isOver: (expiresAt: number) => boolean;
  readonly log: Log;
}

const entrySchema = v.object({
  id: v.string(),
  command: v.object({
    type: v.string(),
    payload: v.exactOptional(v.custom<JsonValue>((value) => value !== undefined)),
    expires_at: v.number(),
  }),
  response: v.nullable(
    v.object({
      status: v.picklist(['accepted', 'in_progress', 'succeeded', 'failed', 'rejected', 'expired']),
      result: v.exactOptional(v.custom<JsonValue>((value) => value !== undefined)),
      error: v.exactOptional(v.string()),
    }),
  ),
  /** Whether the gateway has this response. */
  isAnswered: v.boolean(),
});

type Entry = v.InferOutput<typeof entrySchema>;

/** A gateway repeats only what was never answered; this many back it is still known. */
const maxEntries = 200;
const maxOpen = 32;
const underWay: readonly string[] = ['accepted', 'in_progress'];

export class AttachedCommands implements DeviceCommands {
  readonly #deps: AttachedCommandsDeps;
  readonly #device: string;
  readonly #record: StoredRecord<readonly Entry[]>;
  readonly #sends = new Set<Promise<void>>();

  private constructor(
    deps: AttachedCommandsDeps,
    device: string,
    record: StoredRecord<readonly Entry[]>,
  ) {
    this.#deps = deps;
    this.#device = device;
    this.#record = record;
  }

  static async open(
    deps: AttachedCommandsDeps,
    { device, dataDir }: { readonly device: string; readonly dataDir: string },
  ): Promise<AttachedCommands> {
    const record = await openRecord<readonly Entry[]>({
      path: join(dataDir, 'attached-commands.json'),
      parse: (value) => v.parse(v.array(entrySchema), value),
      initial: [],
      log: deps.log,
    });
    return new AttachedCommands(deps, device, record);
  }

  async started(): Promise<void> {
    // What was under way still is: it is the microcontroller that does it.
  }

  async relaunched(): Promise<void> {
    // It answers for itself.
  }

  async close(): Promise<void> {
    await Promise.all(this.#sends);
  }

  /** Sends every answer that was not acknowledged. */
  connected(): void {
    for (const { id, response, isAnswered } of this.#record.data) {
      if (response !== null && !isAnswered) this.#publish(id, response);
    }
  }

  async receive(id: string, payload: Uint8Array): Promise<void> {
    const known = this.#record.data.find((entry) => entry.id === id);
    if (known !== undefined) {
      if (known.response !== null) this.#publish(id, known.response);
      return;
    }
    const parsed = parseCommand(payload);
    const command = parsed.ok ? parsed.value : { type: 'unreadable', expires_at: 0 };
    const refusal = parsed.ok
      ? this.#refusalOf(parsed.value)
      : ({ status: 'rejected', error: parsed.reason } as const);
    const entry: Entry = { id, command, response: refusal, isAnswered: false };
    await this.#record.update((entries) => bounded([...entries, entry]));
    if (refusal !== null) this.#publish(id, refusal);
    else await this.#send(entry);
  }

  /** The microcontroller is there: what waits for it is sent. */
  async welcomed(): Promise<void> {
    for (const entry of this.#record.data) {
      if (!isOpen(entry)) continue;
      if (this.#deps.isOver(entry.command.expires_at)) {
        await this.#respond(entry.id, { status: 'expired' });
      } else await this.#send(entry);
    }
  }

  /** Resolves when its answer is on disk. One that nobody asked for is nobody's. */
  async take({ command_id: id, ...response }: SerialResponse): Promise<void> {
    const entry = this.#record.data.find((known) => known.id === id);
    if (entry === undefined) return;
    // Once it has said how it ended, what comes after was on its way before.
    if (isOpen(entry)) await this.#respond(id, response);
    if (!underWay.includes(response.status)) this.#deps.answered(id);
  }

  #refusalOf({ expires_at }: CommandPayload): CommandResponsePayload | null {
    if (this.#deps.isOver(expires_at)) return { status: 'expired' };
    const open = this.#record.data.filter(isOpen).length;
    const error = `${String(open)} commands wait for the microcontroller already`;
    return open < maxOpen ? null : { status: 'rejected', error };
  }

  async #send({ id, command }: Entry): Promise<void> {
    try {
      await this.#deps.send({ command_id: id, ...command });
    } catch (error) {
      // Anything else is made good after its next hello.
      if (!isHoldfastError(error, 'REQUEST_TOO_LARGE')) return;
      this.#deps.answered(id);
      await this.#respond(id, { status: 'rejected', error: error.message });
    }
  }

  async #respond(id: string, response: CommandResponsePayload): Promise<void> {
    await this.#change(id, { response, isAnswered: false });
    this.#publish(id, response);
  }

  #publish(id: string, response: CommandResponsePayload): void {
    const topic = buildTopic({ kind: 'command_response', device: this.#device, command: id });
    const sent = this.#deps.session
      .publish(topic, response)
      .then(() => this.#acknowledged(id, response))
      .catch((error: unknown) =>
        // `connected` sends it again.
        this.#deps.log.info({ id, error: messageOf(error) }, 'the answer waits'),
      )
      .finally(() => this.#sends.delete(sent));
    this.#sends.add(sent);
  }

  /** Of two answers one after the other, the last has to be. */
  async #acknowledged(id: string, { status }: CommandResponsePayload): Promise<void> {
    const entry = this.#record.data.find((known) => known.id === id);
    if (entry?.response?.status === status) await this.#change(id, { isAnswered: true });
  }

  #change(id: string, change: Partial<Entry>): Promise<void> {
    return this.#record.update((entries) =>
      entries.map((entry) => (entry.id === id ? { ...entry, ...change } : entry)),
    );
  }
}

const isOpen = ({ response }: Entry): boolean =>
  response === null || underWay.includes(response.status);

/** What is over goes first. */
const bounded = (entries: readonly Entry[]): readonly Entry[] => {
  const excess = entries.length - maxEntries;
  if (excess <= 0) return entries;
  const over = new Set(entries.filter((entry) => !isOpen(entry)).slice(0, excess));
  return entries.filter((entry) => !over.has(entry));
};
