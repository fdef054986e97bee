/** A TCP connection as a port: to a unit that speaks Modbus TCP, or to a converter with a serial bus behind it. */
import { createConnection, type Socket } from 'node:net';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { BytesListener, OpenPort, PortOpener } from '../serial/port/byte-port.js';
import type { PortProblem } from '../serial/port/line-status.js';
import { WriteQueue } from '../serial/port/write-queue.js';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

const connectTimeoutMs = 5_000;
/** A converter that lost its power says nothing; the system asks it from time to time. */
const keepAliveMs = 10_000;

/** As `192.168.1.20:502` or `[fd00::20]:502`; null where it is none. */
export const parseTcpAddress = (text: string): TcpAddress | null => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? 502);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
};

/** Opens what `parseTcpAddress` reads, behind `tcp `. */
export const openTcpPort: PortOpener = async (path) => {
  const address = parseTcpAddress(path.replace(/^tcp /, ''));
  if (address === null) throw new Error(`"${path}" is no address`);
  const socket = createConnection({ ...address, noDelay: true, keepAlive: true });
  socket.setKeepAlive(true, keepAliveMs);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy(Object.assign(new Error('it did not answer'), { code: 'ETIMEDOUT' }));
    }, connectTimeoutMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeListener('error', reject);
      resolve();
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
  return new TcpPort(socket);
};

/** Why nothing is there, for whoever stands in front of it. */
export const explainTcp = async (path: string, error: unknown): Promise<PortProblem> => {
  const { code } = error as NodeJS.ErrnoException;
  const where = path.replace(/^tcp /, '');
  switch (code) {
    case 'ECONNREFUSED':
      return {
        reason: `${where} is there, but takes no connection`,
        next: 'look whether Modbus TCP is on, at this port, and not in use by too many others',
      };
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return { reason: `nobody knows the name ${where}`, next: 'name its IP address instead' };
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return { reason: `${where} does not answer`, next: 'look at its power, cable and address' };
    default:
      return { reason: `${where}: ${messageOf(error)}` };
  }
};

class TcpPort implements OpenPort {
  readonly gone: Promise<string>;
  readonly #socket: Socket;
  readonly #writes: WriteQueue;
  #listener: BytesListener | null = null;
  #isGone = false;
  #resolveGone: (reason: string) => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    this.#writes = new WriteQueue({
      take: (bytes) =>
        new Promise((resolve, reject) => {
          socket.write(bytes, (error) => (error ? reject(error) : resolve()));
        }),
      fail: (reason) => this.fail(reason),
      wireMs: () => 0,
    });
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('end', () => this.fail('the connection was closed by the other end'));
    socket.on('error', (error) => this.fail(error.message));
    socket.on('close', () => this.fail('the connection was closed'));
  }

  onBytes(listener: BytesListener | null): void {
    this.#listener = listener;
  }

  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#writes.write(bytes, signal);
  }

  drain(): Promise<void> {
    return this.#writes.empty();
  }

  /** The converter has the settings of the line behind it. */
  async change(): Promise<void> {
    await this.#writes.empty();
  }

  async setModemLines(): Promise<boolean> {
    return false;
  }

  fail(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#writes.end(reason);
    this.#socket.destroy();
    this.#resolveGone(reason);
  }

  async close(): Promise<void> {
    this.fail('closed by us');
  }

  #take(bytes: Buffer): void {
    const taken = this.#callListener(bytes);
    if (taken === undefined) return;
    this.#socket.pause();
    taken.then(
      () => this.#socket.resume(),
      (error: unknown) => this.fail(messageOf(error)),
    );
  }

  #callListener(bytes: Buffer): Promise<void> | undefined {
    try {
      return this.#listener?.(bytes) ?? undefined;
    } catch (error) {
      this.fail(messageOf(error));
      return undefined;
    }
  }
}
