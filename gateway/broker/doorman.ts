/**
 * Lets connections in at a pace: so many at a time are in their TLS handshake or before CONNECT, so many more wait unread, the rest are
 * turned away at once. A thousand devices that come back together are then served one after the other, and the others go on.
 */
import type { Socket } from 'node:net';

export interface DoormanOptions {
  readonly maxEntering: number;
  readonly maxWaiting: number;
  /** How long one may wait at the door, ms. */
  readonly waitTimeoutMs: number;
}

export class Doorman {
  readonly #options: DoormanOptions;
  readonly #waiting = new Map<
    Socket,
    { readonly enter: () => void; readonly timer: NodeJS.Timeout }
  >();
  #entering = 0;

  constructor(options: DoormanOptions) {
    this.#options = options;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Calls `enter` when it is the socket's turn, with what to call once it is in; a socket that closes counts as in. */
  admit(socket: Socket, enter: (entered: () => void) => void): void {
    const go = (): void => {
      this.#entering += 1;
      let isIn = false;
      const entered = (): void => {
        if (isIn) return;
        isIn = true;
        this.#entering -= 1;
        this.#next();
      };
      socket.once('close', entered);
      enter(entered);
    };
    if (this.#entering < this.#options.maxEntering) {
      go();
      return;
    }
    if (this.#waiting.size >= this.#options.maxWaiting) {
      socket.destroy();
      return;
    }
    const leave = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
    };
    const timer = setTimeout(() => socket.destroy(), this.#options.waitTimeoutMs);
    socket.once('close', leave);
    socket.once('error', () => socket.destroy());
    this.#waiting.set(socket, {
      timer,
      enter: () => {
        leave();
        socket.off('close', leave);
        go();
      },
    });
  }

  close(): void {
    for (const socket of [...this.#waiting.keys()]) socket.destroy();
  }

  #next(): void {
    const [first] = this.#waiting.values();
    if (first !== undefined && this.#entering < this.#options.maxEntering) first.enter();
  }
}
