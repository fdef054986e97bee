/** A WAN that can be cut: a TCP proxy between the gateway and the control plane, for the quickstart and for tests. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { pipeline, Transform } from 'node:stream';
import type { ByteBudget } from '../transfer/byte-budget.js';

/**
 * `up` passes everything on. `cut` breaks every connection and refuses new ones, as an unplugged router on the same site. `stalled`
 * keeps connections open and passes nothing on, as a half-open path; what is sent meanwhile arrives when it is up again.
 */
export type WanState = 'up' | 'cut' | 'stalled';

export interface WanProxyOptions {
  /** Where connections go; asked anew for each, since the control plane may come back on another port. */
  readonly target: () => { host: string; port: number };
  /** 0 takes a free one. */
  readonly port: number;
  /** What comes from the target, at most; the budget may be one of several proxies. Without it as fast as it goes. */
  readonly budget?: Pick<ByteBudget, 'take'>;
}

export class WanProxy {
  readonly #server: Server;
  readonly #target: WanProxyOptions['target'];
  readonly #budget: WanProxyOptions['budget'];
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #state: WanState = 'up';
  #connections = 0;
  /** Of connections that are over. */
  #bytes = 0;

  private constructor({ target, budget }: WanProxyOptions) {
    this.#target = target;
    this.#budget = budget;
    this.#server = createServer({ allowHalfOpen: true }, (near) => this.#accept(near));
  }

  static async open(options: WanProxyOptions): Promise<WanProxy> {
    const proxy = new WanProxy(options);
    proxy.#server.listen(options.port, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get state(): WanState {
    return this.#state;
  }

  /** Connections that were passed on since the start. */
  get connections(): number {
    return this.#connections;
  }

  /** Bytes that came from either side since the start. */
  get bytes(): number {
    let bytes = this.#bytes;
    for (const [near, far] of this.#pairs) bytes += near.bytesRead + far.bytesRead;
    return bytes;
  }

  set(state: WanState): void {
    this.#state = state;
    for (const pair of this.#pairs) {
      for (const socket of pair) {
        if (state === 'cut') socket.destroy();
        else if (state === 'stalled') socket.pause();
        else socket.resume();
      }
    }
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(near: Socket): void {
    if (this.#state === 'cut') {
      near.destroy();
      return;
    }
    this.#connections += 1;
    const far = connect({ ...this.#target(), allowHalfOpen: true });
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      near.destroy();
      far.destroy();
      if (this.#pairs.delete(pair)) this.#bytes += near.bytesRead + far.bytesRead;
    };
    // Either side breaking breaks both; what broke is the business of the two ends.
    let open = 2;
    const finished = (error: NodeJS.ErrnoException | null): void => {
      open -= 1;
      if (error !== null || open === 0) end();
    };
    pipeline(near, far, (error) => finished(error ?? null));
    if (this.#budget === undefined) pipeline(far, near, (error) => finished(error ?? null));
    else pipeline(far, paced(this.#budget), near, (error) => finished(error ?? null));
    if (this.#state === 'stalled') for (const socket of pair) socket.pause();
  }
}

/** Passes on what the budget allows; while it waits nothing more is read. */
const paced = (budget: Pick<ByteBudget, 'take'>): Transform =>
  new Transform({
    transform(piece: Buffer, _encoding, done) {
      budget.take(piece.length).then(
        () => done(null, piece),
        (error: Error) => done(error),
      );
    },
  });
