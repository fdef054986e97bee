/**
 * A serial line in memory, for tests: its near end is opened like a port, its far end is the device's. Bytes arrive in order and in
 * pieces as they were written; nothing is lost unless nobody listens, or it is unplugged.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { BytesListener, ModemLines, OpenPort, PortOpener } from './byte-port.js';
import { type PortSettings, usualSettings } from './port-settings.js';
import { WriteQueue } from './write-queue.js';

/** What a near end that does not read may leave on its way, as in the buffers of a system; the rest is lost. */
const maxUnreadBytes = 1_048_576;

export class PortPair {
  #near: NearEnd | null = null;
  #isPlugged = true;
  #stalled: Promise<void> | null = null;
  #listener: (bytes: Buffer) => void = () => undefined;
  #linesListener: (lines: Required<ModemLines>) => void = () => undefined;
  #settingsListener: (settings: PortSettings) => void = () => undefined;
  readonly #hasModem: boolean;

  /** `hasModem` false: a pair without modem lines, as a pseudo-terminal. */
  constructor({ hasModem = true }: { readonly hasModem?: boolean } = {}) {
    this.#hasModem = hasModem;
  }

  /** The near end as a line opens it, any number of times one after the other. Rejects with ENOENT while it is unplugged. */
  readonly openPort: PortOpener = async (_path, settings) => this.open(settings);

  /** The near end, for who needs no line around it. */
  open(settings: PortSettings = usualSettings): OpenPort {
    if (!this.#isPlugged) throw Object.assign(new Error('ENOENT: unplugged'), { code: 'ENOENT' });
    if (this.#near !== null) throw Object.assign(new Error('EBUSY: in use'), { code: 'EBUSY' });
    const near = new NearEnd(
      {
        arrived: async (bytes) => {
          await this.#stalled;
          this.#listener(bytes);
        },
        moved: (lines) => this.#linesListener(lines),
        set: (changed) => this.#settingsListener(changed),
        hasModem: this.#hasModem,
      },
      settings,
    );
    this.#near = near;
    void near.gone.then(() => {
      if (this.#near === near) this.#near = null;
    });
    this.#settingsListener(settings);
    if (this.#hasModem) this.#linesListener({ dtr: true, rts: true });
    return near;
  }

  /** The device's end. */
  readonly far = {
    /** Lost while nobody has the near end open. */
    write: (bytes: Uint8Array | string): void => this.#near?.bring(Buffer.from(bytes)),
    onBytes: (listener: (bytes: Buffer) => void): void => {
      this.#listener = listener;
    },
    /** The same, as a pseudo-terminal calls it: so that a simulated device can stand at either. */
    onData: (listener: (bytes: Buffer) => void): void => {
      this.#listener = listener;
    },
    /** Told when the near end opens, and whenever it moves them. */
    onModemLines: (listener: (lines: Required<ModemLines>) => void): void => {
      this.#linesListener = listener;
    },
    /** Told when the near end opens, and whenever it changes them. */
    onSettings: (listener: (settings: PortSettings) => void): void => {
      this.#settingsListener = listener;
    },
  };

  /** Whether somebody has the near end open. */
  get isOpen(): boolean {
    return this.#near !== null;
  }

  unplug(reason = 'unplugged'): void {
    this.#isPlugged = false;
    this.#near?.fail(reason);
  }

  plug(): void {
    this.#isPlugged = true;
  }

  /** The near end's writes are not taken until the returned is called. */
  stall(): () => void {
    let go: () => void = () => undefined;
    this.#stalled = new Promise((resolve) => {
      go = resolve;
    });
    return () => {
      this.#stalled = null;
      go();
    };
  }
}

interface NearEndDeps {
  readonly arrived: (bytes: Buffer) => Promise<void>;
  readonly moved: (lines: Required<ModemLines>) => void;
  readonly set: (settings: PortSettings) => void;
  readonly hasModem: boolean;
}

class NearEnd implements OpenPort {
  readonly gone: Promise<string>;
  readonly #deps: NearEndDeps;
  readonly #writes: WriteQueue;
  readonly #unread: Buffer[] = [];
  #unreadBytes = 0;
  #isReading = false;
  #listener: BytesListener | null = null;
  #settings: PortSettings;
  #lines: Required<ModemLines> = { dtr: true, rts: true };
  #isGone = false;
  #resolveGone: (reason: string) => void = () => undefined;

  constructor(deps: NearEndDeps, settings: PortSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    this.#writes = new WriteQueue({
      // A copy, since its writer may use the bytes again.
      take: (bytes) => deps.arrived(Buffer.from(bytes)),
      fail: (reason) => this.fail(reason),
      wireMs: () => 0,
    });
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

  async change(settings: Partial<PortSettings>): Promise<void> {
    await this.drain();
    this.#settings = { ...this.#settings, ...settings };
    this.#deps.set(this.#settings);
  }

  async setModemLines(lines: ModemLines): Promise<boolean> {
    if (this.#isGone) throw new HoldfastError('SERIAL_LINE_DOWN', 'The port is gone');
    if (!this.#deps.hasModem) return false;
    this.#lines = { ...this.#lines, ...lines };
    this.#deps.moved(this.#lines);
    return true;
  }

  fail(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#unread.length = 0;
    this.#writes.end(reason);
    this.#resolveGone(reason);
  }

  async close(): Promise<void> {
    this.fail('closed by us');
  }

  bring(bytes: Buffer): void {
    if (this.#isGone || this.#unreadBytes + bytes.length > maxUnreadBytes) return;
    this.#unread.push(bytes);
    this.#unreadBytes += bytes.length;
    if (!this.#isReading) void this.#read();
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    // Never within the call that wrote: a wire is not a function.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (;;) {
      const bytes = this.#unread.shift();
      if (bytes === undefined) break;
      this.#unreadBytes -= bytes.length;
      try {
        await this.#listener?.(bytes);
      } catch (error) {
        this.fail(String(error));
      }
    }
    this.#isReading = false;
  }
}
