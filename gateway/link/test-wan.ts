/** A wide-area network for tests: a TCP proxy that cuts, stalls without a word as a dead line does, and comes back. */
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class TestWan {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #target: number;
  #isUp = true;
  /** Connections that were made through it. */
  connections = 0;
  #refused = 0;
  readonly #refusals = new EventEmitter();

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
  }

  static async open(target: number): Promise<TestWan> {
    const server = createServer();
    const wan = new TestWan(server, target);
    server.on('connection', (socket) => wan.#carry(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wan;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where connections go that are made from now on. */
  leadTo(target: number): void {
    this.#target = target;
  }

  /** Breaks every connection; while it is down, new ones break too. */
  cut(): void {
    this.#isUp = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  restore(): void {
    this.#isUp = true;
  }

  /** Resolves when so many more connections were tried in vain. */
  async refused(count: number): Promise<void> {
    const wanted = this.#refused + count;
    while (this.#refused < wanted) await once(this.#refusals, 'refused');
  }

  /** Breaks every connection once. */
  flap(): void {
    this.cut();
    this.restore();
  }

  /** Carries nothing more over the connections there are, and tells neither end. */
  stall(): void {
    for (const [near, far] of this.#pairs) {
      near.unpipe(far);
      far.unpipe(near);
      near.pause();
      far.pause();
    }
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  #carry(near: Socket): void {
    near.on('error', () => undefined);
    if (!this.#isUp) {
      near.destroy();
      this.#refused += 1;
      this.#refusals.emit('refused');
      return;
    }
    this.connections += 1;
    const far = connect(this.#target, '127.0.0.1');
    far.on('error', () => undefined);
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    const end = (): void => {
      near.destroy();
      far.destroy();
      this.#pairs.delete(pair);
    };
    near.on('close', end);
    far.on('close', end);
  }
}
