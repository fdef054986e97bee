/**
 * Commands to single devices: committed here before anybody is told, sent until the device answers or the time is over, answered
 * once. Whoever asks twice with one id asks once.
 *
 * A command is published when it is made, which reaches who is connected or has a session at the broker, and once more a little
 * after the device has connected, which reaches everybody else: so a device may get it twice, and tells by its id.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isWired } from '@holdfast/protos/link/door';
import type { CommandPayload, CommandResponsePayload } from '@holdfast/protos/mqtt/command-payload';
import { isEntityId } from '@holdfast/protos/mqtt/device-id';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import { isServed } from '@holdfast/protos/semantics/lifecycle';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { OutboundMessage } from '../broker/broker.js';
import type { Device } from '../devices/device.js';
import type { DeviceChange } from '../devices/devices.js';
import type { Performer } from '../store/outbox.js';
import type { SiteStore } from '../store/site-store.js';
import {
  answerWrite,
  type CommandRow,
  type CommandState,
  type CommandView,
  commandOf,
  createWrite,
  deleteCommand,
  expireWrite,
  failureEntry,
  isOpen,
  sendKind,
} from './command-rows.js';

export interface CommandsDeps {
  readonly site: SiteStore;
  readonly outbox: { register(kind: string, performer: Performer): void };
  readonly devices: {
    get(device: string): Device | undefined;
    onChange(listener: (change: DeviceChange) => void): () => void;
  };
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Sends over a serial line; rejects when it is down. */
  readonly sendOnLine?: (device: string, command: string, payload: CommandPayload) => Promise<void>;
  /** Whether another gateway owns the site: then nothing is sent any more. */
  readonly isFenced: () => boolean;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface CommandsOptions {
  /** From a device's connection to the second sending of what it has not answered, ms: it subscribes meanwhile. */
  readonly resendAfterMs?: number;
  /** Commands of one device that may be open at a time. */
  readonly maxOpen?: number;
}

export interface NewCommand {
  readonly device: string;
  readonly command: string;
  readonly type: string;
  readonly payload: JsonValue;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** The clock may become trusted, or be set, while a timer waits. */
const longestWaitMs = 60_000;
const retryMs = 1_000;
/** In one commit: everybody's wait for it. */
const mostForgotten = 500;

export class Commands {
  readonly #deps: CommandsDeps;
  readonly #options: Required<CommandsOptions>;
  /** By device, then by id, in the order of their making. */
  readonly #open = new Map<string, Map<string, CommandView>>();
  readonly #resends = new Map<string, NodeJS.Timeout>();
  #timer: NodeJS.Timeout | undefined;
  #stop: (() => void) | undefined;
  #isClosed = false;

  constructor(deps: CommandsDeps, options: CommandsOptions = {}) {
    this.#deps = deps;
    this.#options = { resendAfterMs: 2_000, maxOpen: 1_000, ...options };
    deps.outbox.register(sendKind, (body) => this.#send(body));
  }

  /** Takes up those that are not answered. */
  async open(): Promise<void> {
    const rows = await this.#deps.site.read.all<CommandRow>(
      `SELECT * FROM commands WHERE state IN ('delivered', 'accepted') ORDER BY created_at`,
    );
    for (const row of rows) this.#remember(commandOf(row));
    this.#stop = this.#deps.devices.onChange(({ device, before }) => {
      if (device.session !== null && device.session !== before?.session)
        this.#resendSoon(device.device);
    });
    this.#lookLater();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stop?.();
    clearTimeout(this.#timer);
    for (const timer of this.#resends.values()) clearTimeout(timer);
    this.#resends.clear();
  }

  /**
   * Makes a command; resolves after the commit. The same again changes nothing. REQUEST_INVALID, RESOURCE_NOT_FOUND (no such device),
   * RESOURCE_EXISTS (another command has this id). `commit` is for who commits something of its own together with it.
   */
  async create(
    command: NewCommand,
    commit: (write: Write) => Promise<void> = (write) => this.#deps.site.commit(write),
  ): Promise<CommandView> {
    const existing = await this.get(command.device, command.command);
    if (existing !== undefined) {
      if (!isSame(existing, command)) {
        throw new HoldfastError('RESOURCE_EXISTS', `another command has the id ${command.command}`);
      }
      await commit([]);
      return existing;
    }
    this.#check(command);
    const now = this.#deps.clock.now();
    const state: CommandState = this.#isOver(command.expiresAt) ? 'expired' : 'delivered';
    const view: CommandView = {
      ...command,
      state,
      response: null,
      error: null,
      createdAt: now,
      answeredAt: null,
    };
    await commit(createWrite(view));
    if (isOpen(view.state)) this.#remember(view);
    this.#lookLater();
    return view;
  }

  /**
   * Carries out an order of the control plane. One that cannot be is a command that failed: whoever gave it is waiting, and so are the
   * orders to other devices behind it.
   */
  readonly order = async (
    body: {
      readonly device: string;
      readonly command: string;
      readonly type: string;
      readonly payload: unknown;
      readonly expires_at: number;
    },
    commit: (write: Write) => Promise<void>,
  ): Promise<void> => {
    const { device, command, type, payload, expires_at: expiresAt } = body;
    let isDecided = false;
    try {
      // Canonical JSON was parsed: it can hold nothing else.
      await this.create(
        { device, command, type, payload: payload as JsonValue, expiresAt },
        (write) => {
          isDecided = true;
          return commit(write);
        },
      );
    } catch (error) {
      const isRefused =
        isHoldfastError(error) && (!error.isRetryable || error.code === 'STORE_OVERLOADED');
      if (isDecided || !isRefused) throw error;
      const now = this.#deps.clock.now();
      await commit([failureEntry({ device, command, error: messageOf(error) }, now)]);
    }
  };

  /** Takes a device's response; resolves after the commit. Those to nothing that is open are ignored: it was answered before. */
  async answered(device: string, command: string, response: CommandResponsePayload): Promise<void> {
    const view = this.#open.get(device)?.get(command);
    if (view === undefined) return;
    const state = stateOf(response.status);
    if (state === view.state) return;
    const now = this.#deps.clock.now();
    const answer: CommandView = {
      ...view,
      state,
      response: response.result ?? null,
      error: response.error ?? (response.status === 'rejected' ? 'the device refuses it' : null),
      answeredAt: isOpen(state) ? null : now,
    };
    await this.#settle(answer, answerWrite(answer, now));
  }

  async get(device: string, command: string): Promise<CommandView | undefined> {
    const row = await this.#deps.site.read.get<CommandRow>(
      'SELECT * FROM commands WHERE device = ? AND command = ?',
      [device, command],
    );
    return row && commandOf(row);
  }

  /** The newest of a device. */
  async list(device: string, limit = 100): Promise<CommandView[]> {
    const rows = await this.#deps.site.read.all<CommandRow>(
      'SELECT * FROM commands WHERE device = ? ORDER BY created_at DESC, command LIMIT ?',
      [device, limit],
    );
    return rows.map(commandOf);
  }

  /** Forgets those that were over before then, epoch ms, some at a time. */
  async forget(before: number): Promise<void> {
    for (;;) {
      const rows = await this.#deps.site.read.all<Pick<CommandRow, 'device' | 'command'>>(
        `SELECT device, command FROM commands
         WHERE state NOT IN ('delivered', 'accepted') AND expires_at < ?1 AND created_at < ?1
           AND coalesce(answered_at, 0) < ?1 LIMIT ?2`,
        [before, mostForgotten],
      );
      if (rows.length === 0) return;
      await this.#deps.site.commit(rows.map(deleteCommand));
    }
  }

  #check({ device, command, type, payload }: NewCommand): void {
    if (!isEntityId(command) || type.length === 0 || type.length > 64) {
      throw new HoldfastError('REQUEST_INVALID', 'a command needs an id and a type');
    }
    if (Buffer.byteLength(JSON.stringify(payload ?? null)) > 60_000) {
      throw new HoldfastError('REQUEST_TOO_LARGE', 'the payload of a command is over 60,000 bytes');
    }
    const known = this.#deps.devices.get(device);
    if (known === undefined) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no device ${device} here`);
    }
    if (!isServed(known.lifecycle.state)) {
      throw new HoldfastError('RESOURCE_STATE_WRONG', `${device} is ${known.lifecycle.state}`);
    }
    const open = this.#open.get(device);
    if ((open?.size ?? 0) >= this.#options.maxOpen && !open?.has(command)) {
      throw new HoldfastError(
        'STORE_OVERLOADED',
        `too many commands of ${device} are not answered yet`,
      );
    }
  }

  #remember(view: CommandView): void {
    const open = this.#open.get(view.device) ?? new Map<string, CommandView>();
    this.#open.set(view.device, open.set(view.command, view));
  }

  /** Commits how a command goes on, unless another answer was faster. */
  async #settle(view: CommandView, write: Write): Promise<void> {
    try {
      await this.#deps.site.commit(write);
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_CONFLICT')) throw error;
      return;
    }
    const open = this.#open.get(view.device);
    if (isOpen(view.state)) open?.set(view.command, view);
    else open?.delete(view.command);
    if (open?.size === 0) this.#open.delete(view.device);
  }

  /** Performs the effect of `createWrite`. */
  async #send(body: unknown): Promise<void> {
    const { device, command } = body as { device: string; command: string };
    const view = this.#open.get(device)?.get(command) ?? (await this.get(device, command));
    if (view === undefined || view.state !== 'delivered' || this.#isOver(view.expiresAt)) return;
    if (this.#deps.isFenced()) return;
    const { type, payload, expiresAt: expires_at } = view;
    const message: CommandPayload = { type, payload, expires_at };
    if (isWired(this.#deps.devices.get(device)?.door)) {
      // Offline: it is sent when the line is back.
      if (this.#deps.devices.get(device)?.session !== null) {
        await this.#deps.sendOnLine?.(device, command, message);
      }
      return;
    }
    await this.#deps.publish({
      topic: buildTopic({ kind: 'command', device, command }),
      payload: Buffer.from(JSON.stringify(message)),
      qos: 1,
    });
  }

  #resendSoon(device: string): void {
    if (this.#isClosed || !this.#open.has(device) || this.#resends.has(device)) return;
    const timer = setTimeout(() => {
      this.#resends.delete(device);
      void this.#resend(device);
    }, this.#options.resendAfterMs);
    this.#resends.set(device, timer);
  }

  async #resend(device: string): Promise<void> {
    for (const { command } of [...(this.#open.get(device)?.values() ?? [])]) {
      try {
        await this.#send({ device, command });
      } catch (error) {
        this.#deps.log.warn({ err: error, device, command }, 'a command could not be sent again');
        return;
      }
    }
  }

  /** By a clock that is not trusted nothing expires. */
  #isOver(expiresAt: number): boolean {
    return this.#deps.clock.trusted && expiresAt <= this.#deps.clock.now();
  }

  #lookLater(leastMs = 10): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#open.size === 0) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const open of this.#open.values()) {
      for (const { expiresAt } of open.values()) earliest = Math.min(earliest, expiresAt);
    }
    const delay = Math.min(Math.max(earliest - this.#deps.clock.now(), leastMs), longestWaitMs);
    this.#timer = setTimeout(() => void this.expire(), delay).unref();
  }

  /** Ends those whose time is over; called by its own timer. */
  async expire(): Promise<void> {
    const over = [...this.#open.values()]
      .flatMap((open) => [...open.values()])
      .filter(({ expiresAt }) => this.#isOver(expiresAt));
    try {
      const now = this.#deps.clock.now();
      for (const view of over) {
        const expired: CommandView = { ...view, state: 'expired', answeredAt: now };
        await this.#settle(expired, expireWrite(expired, now));
      }
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'commands that ran out could not be ended');
    }
    // What is over and still here waits for a trusted clock, or for room on the disk.
    this.#lookLater(retryMs);
  }
}

const isSame = (existing: CommandView, { type, payload, expiresAt }: NewCommand): boolean =>
  existing.type === type &&
  existing.expiresAt === expiresAt &&
  JSON.stringify(existing.payload) === JSON.stringify(payload);

const stateOf = (status: CommandResponsePayload['status']): CommandState => {
  switch (status) {
    case 'accepted':
    case 'in_progress':
      return 'accepted';
    case 'succeeded':
    case 'expired':
      return status;
    default:
      return 'failed';
  }
};
