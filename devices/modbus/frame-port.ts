/**
 * A port as modbus-serial wants one, over one of ours: it gets the answer to the request that is out, whole and once, and nothing else.
 *
 * modbus-serial itself takes whatever comes next for the answer; so whatever is none is kept from it here.
 */
import { EventEmitter } from 'node:events';
import type { BytePort } from '../serial/port/byte-port.js';
import { type ExpectedReply, expectedReply } from './expected-reply.js';
import type { Framing } from './framing.js';

export interface FramePortHandlers {
  /** Bytes came, while this much of an answer is awaited; 0: while nobody asked. `unexplained` are no part of a whole answer so far. */
  readonly heard: (awaitedBytes: number, unexplainedBytes: number) => void;
  /** Whole answers to something else. */
  readonly strays: (count: number) => void;
  /** The request did not go out. */
  readonly failed: (error: unknown) => void;
}

export class FramePort extends EventEmitter {
  readonly isOpen = true;
  readonly #port: BytePort;
  readonly #framing: Framing;
  readonly #handlers: FramePortHandlers;
  #expected: ExpectedReply | null = null;
  #bytes: Buffer = nothing;

  constructor(port: BytePort, framing: Framing, handlers: FramePortHandlers) {
    super();
    this.#port = port;
    this.#framing = framing;
    this.#handlers = handlers;
    port.onBytes((bytes) => this.#take(bytes));
  }

  /** What modbus-serial calls; the port is open already. */
  open(opened: (error: null) => void): void {
    opened(null);
  }

  close(closed?: () => void): void {
    this.forget();
    closed?.();
  }

  write(adu: Buffer): void {
    this.#expected = expectedReply(adu);
    this.#bytes = nothing;
    const frame = this.#framing.request(adu);
    this.#port.write(frame).catch((error: unknown) => this.#handlers.failed(error));
  }

  /** Nobody waits for an answer any more. */
  forget(): void {
    this.#expected = null;
    this.#bytes = nothing;
  }

  #take(chunk: Buffer): void {
    const expected = this.#expected;
    if (expected === null) {
      this.#handlers.heard(0, chunk.length);
      return;
    }
    const bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const { reply, rest, strays } = this.#framing.find(bytes, expected);
    this.#bytes = rest;
    if (strays > 0) this.#handlers.strays(strays);
    this.#handlers.heard(expected.length, rest.length);
    if (reply === null) return;
    this.forget();
    this.emit('data', reply);
  }
}

const nothing: Buffer = Buffer.alloc(0);
