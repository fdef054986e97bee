/** The stream of one connection as the rest of the link sees it: messages with back pressure both ways, and one end. */
import { once } from 'node:events';
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CloudMessage, GatewayMessage } from '@holdfast/protos/gen/holdfast/v1/link';
import { statusOf } from '../api/status.js';

export type LinkCall = ServerDuplexStream<GatewayMessage, CloudMessage>;
/** What is said to a gateway. */
export type Said = NonNullable<CloudMessage['message']>;
/** What a gateway says. */
export type Heard = NonNullable<GatewayMessage['message']>;

/** Answers that may wait for a gateway which asks and does not read. */
const mostWaitingBytes = 4 * 1024 * 1024;

export class LinkStream {
  readonly #call: LinkCall;
  readonly #ended = new AbortController();

  constructor(call: LinkCall) {
    this.#call = call;
    const end = () => this.#ended.abort(new HoldfastError('CONNECTION_FAILED', 'the link is over'));
    call.on('cancelled', end);
    call.on('end', () => this.end());
    call.on('close', end);
    call.on('error', end);
  }

  /** Aborts when either side has ended it. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Messages come one by one as they are heard; `hold` and `go` stop and start them. */
  listen(onMessage: (message: Heard) => void): void {
    this.#call.on('data', ({ message }: GatewayMessage) => {
      // A message of a newer program's kind: it says nothing that this one could act on.
      if (message !== undefined && !this.ended.aborted) onMessage(message);
    });
  }

  /** As `listen`, for one message. */
  listenOnce(onMessage: (message: Heard) => void): void {
    const onData = ({ message }: GatewayMessage) => {
      if (message === undefined) return;
      this.#call.off('data', onData);
      onMessage(message);
    };
    this.#call.on('data', onData);
  }

  hold(): void {
    this.#call.pause();
  }

  go(): void {
    this.#call.resume();
  }

  /** Says something short, at once; the connection of one that never reads is ended. */
  say(message: Said): void {
    if (this.ended.aborted) return;
    this.#call.write({ message });
    if (this.#call.writableLength > mostWaitingBytes) {
      this.fail(
        new HoldfastError('CONNECTION_FAILED', 'the gateway does not read what it asked for'),
      );
    }
  }

  /** Says something large; resolves when there is room for more. Rejects when the stream is over. */
  async send(message: Said): Promise<void> {
    this.ended.throwIfAborted();
    if (!this.#call.write({ message })) {
      await once(this.#call, 'drain', { signal: this.ended });
    }
  }

  /** Says goodbye. Idempotent. */
  end(): void {
    if (this.ended.aborted) return;
    this.#call.end();
    this.#ended.abort(new HoldfastError('CONNECTION_FAILED', 'the link was ended here'));
  }

  /** Ends it with a status. Idempotent. */
  fail(error: HoldfastError): void {
    if (this.ended.aborted) return;
    this.#ended.abort(error);
    const told = statusOf(error, () => undefined);
    this.#call.emit('error', told.code === status.OK ? { ...told, code: status.UNKNOWN } : told);
  }
}
