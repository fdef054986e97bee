/**
 * Takes a client's publishes of QoS 0 and 1 out of its batches. They need no handshake, and the protocol library would carry each through
 * a parser, a queue, a stream and a timer; everything else stays the library's.
 */
import type { PublishRequest } from './protocol.js';

export interface PublishLaneHooks {
  publish(message: PublishRequest, done: (error?: Error) => void): void;
  acknowledge(packetId: number): void;
  failed(error: Error): void;
  /** All that were taken are done; not called from within `take`. */
  idle(): void;
}

export class PublishLane {
  readonly #hooks: PublishLaneHooks;
  #underWay = 0;
  #isTaking = false;
  /** The connection ends: what comes behind a refused publish is not taken. */
  #hasFailed = false;

  constructor(hooks: PublishLaneHooks) {
    this.#hooks = hooks;
  }

  get isBusy(): boolean {
    return this.#underWay > 0;
  }

  /** Starts those among whole, checked packets, of which `ends` are the ends; returns the rest. */
  take(bytes: Buffer, ends: readonly number[]): Buffer {
    const rest: Buffer[] = [];
    let from = 0;
    let at = 0;
    this.#isTaking = true;
    for (const end of ends) {
      if (this.#hasFailed) break;
      if (isOfLane(bytes[at])) {
        if (at > from) rest.push(bytes.subarray(from, at));
        from = end;
        this.#start(bytes, at, end);
      }
      at = end;
    }
    this.#isTaking = false;
    if (this.#hasFailed) return nothing;
    if (at > from) rest.push(bytes.subarray(from, at));
    return rest.length === 1 && rest[0] !== undefined ? rest[0] : Buffer.concat(rest);
  }

  #start(bytes: Buffer, start: number, end: number): void {
    const first = bytes[start] ?? 0;
    let at = start + 1;
    while ((bytes[at] ?? 0) > 127) at += 1;
    const topicAt = at + 3;
    const topicEnd = topicAt + bytes.readUInt16BE(at + 1);
    const qos = first & 2 ? 1 : 0;
    const messageId = qos === 1 ? bytes.readUInt16BE(topicEnd) : undefined;
    const message: PublishRequest = {
      topic: bytes.toString('utf8', topicAt, topicEnd),
      payload: bytes.subarray(qos === 1 ? topicEnd + 2 : topicEnd, end),
      qos,
      retain: (first & 1) === 1,
      ...(messageId !== undefined && { messageId }),
    };
    this.#underWay += 1;
    this.#hooks.publish(message, (error) => this.#done(messageId, error));
  }

  #done(packetId: number | undefined, error: Error | undefined): void {
    this.#underWay -= 1;
    if (error !== undefined) {
      this.#hasFailed = true;
      this.#hooks.failed(error);
    } else if (packetId !== undefined) this.#hooks.acknowledge(packetId);
    if (this.#underWay === 0 && !this.#isTaking) this.#hooks.idle();
  }
}

const nothing = Buffer.alloc(0);

/** Whether a packet that begins with this byte is one the lane takes. */
export const isOfLane = (first: number | undefined): boolean =>
  first !== undefined && first >> 4 === 3 && (first & 0b110) < 0b100;

/** Whether a publish must not overtake it: not so acknowledgements and PINGREQ. */
export const isBarrier = (first: number): boolean => {
  const type = first >> 4;
  return !(isOfLane(first) || (type >= 4 && type <= 7) || type === 12);
};
