/**
 * A port of this machine, opened through serialport's binding without its streams: read into a pool whose slices are handed on as they
 * are, and only as fast as they are taken.
 *
 * Three things the binding does not do: tell that a terminal hung up (its name is watched), end a write whose far end died (its queue
 * does), and wait for the wire without blocking a thread of the pool, which the databases share.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { SerialPort } from 'serialport';
import type { BytesListener, ModemLines, OpenPort, PortOpener } from './byte-port.js';
import { type PortSettings, wireMs } from './port-settings.js';
import { WriteQueue } from './write-queue.js';

type Binding = Awaited<ReturnType<typeof SerialPort.binding.open>>;

const poolBytes = 32_768;
/** As much as the kernel gives at once. */
const leastRoomBytes = 4_096;
const presenceCheckMs = 500;
const closeTimeoutMs = 1_000;
/** What may be left on the wire when the kernel is asked to wait for it, which takes a thread of four. */
const shortWaitMs = 30;

export const openSystemPort: PortOpener = async (path, settings) => {
  // Before it is opened: a node that was made anew since is another port.
  const identity = await nodeIdentity(path);
  const binding = await SerialPort.binding.open({ path, ...settings });
  // Without it the lines fall when the port is closed, and rise when it is opened: a gateway that begins anew would reset every Arduino.
  if (!isTerminal(identity)) void setFlags(binding, ['-hupcl']).catch(() => undefined);
  return new SystemPort(binding, { path, identity, settings });
};

class SystemPort implements OpenPort {
  readonly gone: Promise<string>;
  readonly #binding: Binding;
  readonly #writes: WriteQueue;
  readonly #presence: NodeJS.Timeout;
  readonly #ends = new Set<(reason: string) => void>();
  #settings: PortSettings;
  #lines: Required<ModemLines> = { dtr: true, rts: true };
  #listener: BytesListener | null = null;
  #isGone = false;
  #resolveGone: (reason: string) => void = () => undefined;
  #closed: Promise<void> | null = null;
  /** When the last byte that the kernel took leaves it, at the earliest. */
  #wireFreeAt = 0;

  constructor(
    binding: Binding,
    {
      path,
      identity,
      settings,
    }: { readonly path: string; readonly identity: string; readonly settings: PortSettings },
  ) {
    this.#binding = binding;
    this.#settings = settings;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    this.#writes = new WriteQueue({
      take: (bytes) => this.#take(bytes),
      fail: (reason) => this.fail(reason),
      wireMs: (bytes) => wireMs(bytes, this.#settings),
    });
    // Reading a terminal that hung up gives no bytes and no error, for ever.
    this.#presence = setInterval(() => {
      void nodeIdentity(path).then((now) => {
        if (now !== identity) this.fail('the port vanished');
      });
    }, presenceCheckMs);
    void this.#read();
  }

  onBytes(listener: BytesListener | null): void {
    this.#listener = listener;
  }

  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#writes.write(bytes, signal);
  }

  async drain(): Promise<void> {
    await this.#writes.empty();
    const leftMs = this.#wireFreeAt - performance.now();
    if (leftMs > shortWaitMs) await this.#orGone(delay(leftMs - shortWaitMs / 2));
    await this.#orGone(this.#binding.drain());
  }

  async change(settings: Partial<PortSettings>): Promise<void> {
    const wanted = { ...this.#settings, ...settings };
    const { baudRate } = wanted;
    const frame = frameFlags(wanted);
    const isFrameNew = frame.join() !== frameFlags(this.#settings).join();
    if (!isFrameNew && baudRate === this.#settings.baudRate) return;
    // The binding throws away what is still to leave.
    await this.drain();
    try {
      if (isFrameNew) await this.#orGone(setFlags(this.#binding, frame));
      if (baudRate !== this.#settings.baudRate) {
        await this.#orGone(this.#binding.update({ baudRate }));
      }
    } catch (cause) {
      if (this.#isGone) throw cause;
      throw new HoldfastError(
        'SERIAL_SETTINGS_REFUSED',
        `The port does not take ${settingsText(wanted)}: ${messageOf(cause)}`,
        { cause },
      );
    }
    this.#settings = wanted;
  }

  async setModemLines(lines: ModemLines): Promise<boolean> {
    const wanted = { ...this.#lines, ...lines };
    try {
      // Every flag is set at each call. Whoever moves these lines has a dialogue before them: no chip is to sit on bytes for 16 ms.
      await this.#orGone(this.#binding.set({ ...wanted, brk: false, lowLatency: true }));
    } catch (error) {
      if (!this.#isGone && isNoModem.test(messageOf(error))) return false;
      throw error instanceof HoldfastError
        ? error
        : new HoldfastError('SERIAL_LINE_DOWN', messageOf(error), { cause: error });
    }
    this.#lines = wanted;
    return true;
  }

  fail(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#writes.end(reason);
    for (const end of this.#ends) end(reason);
    this.#resolveGone(reason);
  }

  close(): Promise<void> {
    this.fail('closed by us');
    clearInterval(this.#presence);
    this.#closed ??= withinMs(
      closeTimeoutMs,
      this.#binding.close().catch(() => undefined),
    );
    return this.#closed;
  }

  async #read(): Promise<void> {
    let pool = Buffer.allocUnsafeSlow(poolBytes);
    let used = 0;
    while (!this.#isGone) {
      if (pool.length - used < leastRoomBytes) {
        // A new one, since the slices of the old one were given away.
        pool = Buffer.allocUnsafeSlow(poolBytes);
        used = 0;
      }
      try {
        const { bytesRead } = await this.#binding.read(pool, used, pool.length - used);
        const bytes = pool.subarray(used, used + bytesRead);
        used += bytesRead;
        const taken = this.#isGone ? undefined : this.#listener?.(bytes);
        if (taken !== undefined) await taken;
      } catch (error) {
        this.fail(messageOf(error));
      }
    }
  }

  async #take(bytes: Uint8Array): Promise<void> {
    await this.#binding.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const now = performance.now();
    this.#wireFreeAt = Math.max(now, this.#wireFreeAt) + wireMs(bytes.length, this.#settings);
  }

  /** The binding's calls may never end once the port is gone. */
  #orGone<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (reason: string): void =>
        reject(new HoldfastError('SERIAL_LINE_DOWN', `The port is gone: ${reason}`));
      if (this.#isGone) end('it was closed');
      this.#ends.add(end);
      work.then(resolve, reject).finally(() => this.#ends.delete(end));
    });
  }
}

/** ENOTTY and EINVAL: the terminal has no such lines. */
const isNoModem = /Inappropriate ioctl|Invalid argument/;

const frameFlags = ({ dataBits, parity, stopBits }: PortSettings): string[] => [
  `cs${String(dataBits)}`,
  parity === 'none' ? '-parenb' : 'parenb',
  parity === 'odd' ? 'parodd' : '-parodd',
  stopBits === 2 ? 'cstopb' : '-cstopb',
];

/** The binding changes nothing but the speed of a port that is open; `stty` does, on the very terminal that it is given. */
const setFlags = async (binding: Binding, flags: readonly string[]): Promise<void> => {
  const stty = spawn('stty', flags, { stdio: [binding.fd ?? 'ignore', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  stty.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(stty, 'close')) as [number | null];
  if (code !== 0) throw new Error(Buffer.concat(said).toString().trim());
};

const settingsText = ({ baudRate, dataBits, parity, stopBits }: PortSettings): string =>
  `${String(baudRate)} baud, ${String(dataBits)}${parity.charAt(0).toUpperCase()}${String(stopBits)}`;

const withinMs = async (ms: number, work: Promise<unknown>): Promise<void> => {
  const timeout = new AbortController();
  await Promise.race([
    work,
    delay(ms, undefined, { signal: timeout.signal }).catch(() => undefined),
  ]);
  timeout.abort();
};

/** Pseudo-terminals have majors 136 to 143, and no lines that could fall. */
const isTerminal = (identity: string): boolean => {
  const major = Math.floor(Number(identity.split(':')[0]) / 256) & 0xfff;
  return major >= 136 && major <= 143;
};

/**
 * Which device node the name leads to; a node made anew under an old name is another. One whose rights were changed, as by udev, is not:
 * its birth counts, where the file system knows it.
 */
const nodeIdentity = async (path: string): Promise<string> => {
  const found = await stat(path).catch(() => null);
  return found === null
    ? ''
    : `${String(found.rdev)}:${String(found.ino)}:${String(found.birthtimeMs || found.ctimeMs)}`;
};
