/**
 * What is remembered of devices between two of their requests, as long as the program runs. All of it can be lost: a device is then asked
 * again, or asks again, and nothing is taken for a proof that is none.
 */
import type { ExecutionView } from '../../updates/device-executions.js';
import type { FeedbackContext } from './feedback-meaning.js';

/** Of one action. */
export class ActionMemory implements FeedbackContext {
  /** Also where its execution says so, which outlives this. */
  isInstalled = false;
  askedSince = false;
  hasLoaded = false;
  /** It has taken it up. */
  hasBegun = false;
  /** It has said how it ended, or that it gave it up. */
  isOver = false;
  /** It cannot be cancelled any more, says the device. */
  refusedCancel = false;
  /** What it has said last, the newest first. */
  messages: readonly string[] = [];

  constructor(readonly number: number) {}

  say(details: readonly string[]): void {
    this.messages = [...details.toReversed(), ...this.messages].slice(0, mostMessages);
  }

  waitsForRestart(): void {
    this.isInstalled = true;
    this.askedSince = false;
  }
}

const mostMessages = 50;

interface DeviceMemory {
  action: ActionMemory | undefined;
  hasTold: boolean;
  /** The last answer asked for its attributes. */
  wasAsked: boolean;
}

/** More than a gateway serves; of more, who came first is forgotten first. */
const mostDevices = 10_000;

export class DdiMemory {
  readonly #devices = new Map<string, DeviceMemory>();

  of({ device, number }: Pick<ExecutionView, 'device' | 'number'>): ActionMemory {
    const memory = this.#of(device);
    if (memory.action?.number !== number) memory.action = new ActionMemory(number);
    return memory.action;
  }

  /**
   * The action that a device is still at while the site has given it up: its time ran out, or all updates were stopped. `live` are those
   * that are under way for it.
   */
  givenUp(device: string, live: readonly Pick<ExecutionView, 'number'>[]): number | undefined {
    const action = this.#devices.get(device)?.action;
    if (action === undefined || !action.hasBegun || action.isInstalled || action.isOver) {
      return undefined;
    }
    return live.some(({ number }) => number === action.number) ? undefined : action.number;
  }

  /** It has asked what there is, and was told of this. */
  asked(view: ExecutionView): void {
    this.of(view).askedSince = true;
  }

  wasAsked(device: string, forAttributes: boolean): void {
    this.#of(device).wasAsked = forAttributes;
  }

  hasTold(device: string): boolean {
    return this.#of(device).hasTold;
  }

  /** It tells its attributes. Returns whether it was asked to. */
  told(device: string): boolean {
    const memory = this.#of(device);
    memory.hasTold = true;
    const { wasAsked } = memory;
    memory.wasAsked = false;
    return wasAsked;
  }

  #of(device: string): DeviceMemory {
    const known = this.#devices.get(device);
    if (known !== undefined) return known;
    const made: DeviceMemory = { action: undefined, hasTold: false, wasAsked: true };
    this.#devices.set(device, made);
    const [oldest] = this.#devices.keys();
    if (this.#devices.size > mostDevices && oldest !== undefined) this.#devices.delete(oldest);
    return made;
  }
}
