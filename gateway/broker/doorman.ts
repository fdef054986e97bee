/**
 * Lets connections in at a pace: so many at a time are in their TLS handshake or before CONNECT, so many more wait unread, the rest are
 * turned away at once. A thousand devices that come back together are then served one after the other, and the others go on. Addresses
 * take turns, so that a stranger who opens connections and says nothing holds nobody up for longer than one of his takes.
 */
import type { Socket } from 'node:net';

export interface DoormanOptions {
  readonly maxEntering: number;
  readonly maxWaiting: number;
  /** How long one may wait at the door, ms. */
  readonly waitTimeoutMs: number;
}

interface Waiting {
  readonly socket: Socket;
  readonly enter: () => void;
}

export class Doorman {
  readonly #options: DoormanOptions;
  /** By address; the one whose turn was longest ago first. */
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #enteringOf = new Map<string, number>();
  #waitingCount = 0;
  #entering = 0;

  constructor(options: DoormanOptions) {
    this.#options = options;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** Calls `enter` when it is the socket's turn, with what to call once it is in; a socket that closes counts as in. */
  admit(socket: Socket, enter: (entered: () => void) => void): void {
    const address = socket.remoteAddress ?? '';
    if (this.#entering < this.#options.maxEntering) {
      this.#letIn(address, socket, enter);
      return;
    }
    if (this.#waitingCount >= this.#options.maxWaiting && !this.#makeRoom(address)) {
      socket.destroy();
      return;
    }
    const leave = (): void => {
      clearTimeout(timer);
      socket.off('close', leave);
      this.#remove(address, waiting);
    };
    const timer = setTimeout(() => socket.destroy(), this.#options.waitTimeoutMs);
    socket.once('close', leave);
    socket.once('error', () => socket.destroy());
    const waiting: Waiting = {
      socket,
      enter: () => {
        leave();
        this.#letIn(address, socket, enter);
      },
    };
    const others = this.#waiting.get(address) ?? new Set();
    this.#waiting.set(address, others.add(waiting));
    this.#waitingCount += 1;
  }

  close(): void {
    for (const { socket } of [...this.#waiting.values()].flatMap((each) => [...each])) {
      socket.destroy();
    }
  }

  #letIn(address: string, socket: Socket, enter: (entered: () => void) => void): void {
    this.#entering += 1;
    this.#enteringOf.set(address, (this.#enteringOf.get(address) ?? 0) + 1);
    let isIn = false;
    const entered = (): void => {
      if (isIn) return;
      isIn = true;
      this.#entering -= 1;
      const left = (this.#enteringOf.get(address) ?? 1) - 1;
      if (left > 0) this.#enteringOf.set(address, left);
      else this.#enteringOf.delete(address);
      this.#next();
    };
    socket.once('close', entered);
    enter(entered);
  }

  /** The turn is of the address that has the fewest entering, and among those of the one that waited longest for a turn. */
  #next(): void {
    if (this.#entering >= this.#options.maxEntering) return;
    let chosen: [string, Set<Waiting>] | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const candidate of this.#waiting) {
      const entering = this.#enteringOf.get(candidate[0]) ?? 0;
      if (entering >= fewest) continue;
      fewest = entering;
      chosen = candidate;
      if (entering === 0) break;
    }
    if (chosen === undefined) return;
    const [address, each] = chosen;
    this.#waiting.delete(address);
    this.#waiting.set(address, each);
    const [first] = each;
    first?.enter();
  }

  /** Turns away the newest of the address with the most that wait, if that is not the address for which the room is. */
  #makeRoom(address: string): boolean {
    const [largest, crowd] = [...this.#waiting].reduce(
      (most, each) => (each[1].size > most[1].size ? each : most),
      ['', new Set<Waiting>()],
    );
    const own = this.#waiting.get(address)?.size ?? 0;
    // Said first: a flood from one address is turned away at once.
    if (crowd.size <= own + 1) return false;
    const newest = [...crowd].at(-1);
    if (newest === undefined) return false;
    this.#remove(largest, newest);
    newest.socket.destroy();
    return true;
  }

  #remove(address: string, waiting: Waiting): void {
    const each = this.#waiting.get(address);
    if (each?.delete(waiting) !== true) return;
    this.#waitingCount -= 1;
    if (each.size === 0) this.#waiting.delete(address);
  }
}
