/**
 * What was sent down a serial line and is not answered yet. A line loses bytes and has no acknowledgement of its own, so a command is
 * sent again until it is answered or over, an update until it is taken up or withdrawn, and what is desired a few times, until it is reported.
 *
 * Only so many commands are out at a time, the others wait in order: the device has little memory. All of it is forgotten with the
 * line; what is open then is kept by the services, and comes again after the next hello.
 */

import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { SerialCommand } from './serial-driver.js';

export interface UnansweredDeps {
  readonly sendCommand: (command: SerialCommand) => Promise<void>;
  readonly sendDelta: (state: JsonObject, version: number) => Promise<void>;
  readonly withdrawDelta?: () => void;
  /** Offers the update that is open once more; false when none waits to be taken up. */
  readonly offerAgain: () => Promise<boolean>;
  readonly isOver: (expiresAt: number) => boolean;
  /** Something could not be sent; it is sent again. */
  readonly failed: (error: unknown) => void;
}

export interface UnansweredOptions {
  readonly resendAfterMs: number;
}

interface Delta {
  readonly state: JsonObject;
  readonly version: number;
  timesLeft: number;
}

const maxCommandsOut = 4;
/** A device may not know some setting, so it is not told of it for ever. */
const deltaTimes = 10;

export class Unanswered {
  readonly #deps: UnansweredDeps;
  readonly #resendAfterMs: number;
  /** In the order they came; the first are out. */
  readonly #commands = new Map<string, SerialCommand>();
  readonly #out = new Set<string>();
  #delta: Delta | undefined;
  #version = 0;
  #isOffered = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: UnansweredDeps, { resendAfterMs }: UnansweredOptions) {
    this.#deps = deps;
    this.#resendAfterMs = resendAfterMs;
  }

  /** Resolves when it was sent, or waits for its turn. One that is here already is on its way. */
  async command(command: SerialCommand): Promise<void> {
    if (this.#commands.has(command.command_id)) return;
    this.#commands.set(command.command_id, command);
    await this.#sendNew();
  }

  answered(command: string): void {
    if (!this.#commands.delete(command)) return;
    this.#out.delete(command);
    this.#sendNew().catch(this.#deps.failed);
  }

  /** Undefined when nothing is desired that is not reported. */
  async delta(state: JsonObject | undefined, version: number): Promise<void> {
    // One that was read before another change and is told after it.
    if (version < this.#version) return;
    this.#version = version;
    this.#delta = state && { state, version, timesLeft: deltaTimes };
    if (state === undefined) this.#deps.withdrawDelta?.();
    await this.#sendDelta();
    this.#resendLater();
  }

  /** An update was offered. */
  offered(): void {
    this.#isOffered = true;
    this.#resendLater();
  }

  /** The device said something of its update. */
  takenUp(): void {
    this.#isOffered = false;
  }

  /** Sends the commands once more: the device said that it may have missed them. */
  async again(): Promise<void> {
    this.#out.clear();
    await this.#sendNew();
  }

  forget(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#commands.clear();
    this.#out.clear();
    this.#delta = undefined;
    this.#version = 0;
    this.#isOffered = false;
  }

  async #sendNew(): Promise<void> {
    this.#resendLater();
    for (const [id, command] of this.#commands) {
      if (this.#out.size >= maxCommandsOut) return;
      if (this.#out.has(id)) continue;
      if (this.#deps.isOver(command.expires_at)) {
        this.#commands.delete(id);
        continue;
      }
      this.#out.add(id);
      await this.#deps.sendCommand(command);
    }
  }

  async #sendDelta(): Promise<void> {
    if (this.#delta === undefined) return;
    this.#delta.timesLeft -= 1;
    const { state, version, timesLeft } = this.#delta;
    if (timesLeft === 0) this.#delta = undefined;
    await this.#deps.sendDelta(state, version);
  }

  async #offerAgain(): Promise<void> {
    if (this.#isOffered && !(await this.#deps.offerAgain())) this.#isOffered = false;
  }

  #resendLater(): void {
    if (this.#commands.size === 0 && this.#delta === undefined && !this.#isOffered) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#resend();
    }, this.#resendAfterMs);
  }

  async #resend(): Promise<void> {
    // They all go out anew, but for those whose time is over.
    const sent = await Promise.allSettled([this.again(), this.#sendDelta(), this.#offerAgain()]);
    for (const result of sent) if (result.status === 'rejected') this.#deps.failed(result.reason);
    this.#resendLater();
  }
}
