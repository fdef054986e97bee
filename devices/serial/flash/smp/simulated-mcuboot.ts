/**
 * For tests, named for what it is: a board with MCUboot's serial recovery, simulated. It does what boot/boot_serial/src/boot_serial.c of
 * mcu-tools/mcuboot does: an upload's place is in memory alone and begins at 0 after each reset, its first part erases the slot, a part at
 * another place than the expected is answered by the expected one, what is not aligned is asked for again; an image that is not whole
 * or not signed is neither listed nor started.
 *
 * After a reset it waits `windowMs` for a request (BOOT_SERIAL_WAIT_FOR_DFU); without one it starts the application, or stays when there
 * is none that is valid (BOOT_SERIAL_NO_APPLICATION). The flash keeps what it has through resets and power cuts.
 */
import { type KeyObject, verify } from 'node:crypto';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { readMcubootImage } from '@holdfast/provisioning/firmware/flash/mcuboot-image';
import { decode } from 'cborg';
import { encodeAnswer, RecoveryLines } from './simulated-recovery-lines.js';

/** What runs once the image is started. */
export interface SimulatedApplication {
  receive(bytes: Buffer): void;
  stop(): void;
}

export interface SimulatedMcubootDeps {
  readonly write: (bytes: Buffer) => void;
  /** Gets to know the image that runs, and how it resets the board: into the boot loader where it asks for that. */
  readonly start: (
    version: string,
    board: { write(bytes: Buffer): void; reset(toBootLoader: boolean): void },
  ) => SimulatedApplication;
  /** What is in the flash; kept by whoever wants it to survive the process. */
  readonly flash?: SimulatedSlot;
}

export interface SimulatedMcubootOptions {
  readonly slotBytes?: number;
  /** Writes are multiples of it. */
  readonly writeBytes?: number;
  readonly receiveBytes?: number;
  readonly windowMs?: number;
  readonly listsHashes?: boolean;
  readonly knowsParameters?: boolean;
  readonly knowsSlots?: boolean;
  /** Without one, images need no signature. */
  readonly publicKey?: KeyObject;
}

/** The bytes of the primary slot. */
export interface SimulatedSlot {
  readonly bytes: Buffer;
  /** Before every change; throws when the power is cut there. */
  readonly changed: (change: () => void) => void;
}

export const newSlot = (bytes = 65_536): SimulatedSlot => ({
  bytes: Buffer.alloc(bytes, 0xff),
  changed: (change) => change(),
});

type Running =
  | { readonly what: 'nothing' }
  | { readonly what: 'boot loader' }
  | { readonly what: 'application'; readonly application: SimulatedApplication };

const invalidValue = 3;
const notSupported = 8;

export class SimulatedMcuboot {
  readonly #deps: SimulatedMcubootDeps;
  readonly #options: Required<Omit<SimulatedMcubootOptions, 'publicKey'>> & SimulatedMcubootOptions;
  readonly slot: SimulatedSlot;
  #lines: RecoveryLines;
  #running: Running = { what: 'nothing' };
  #window: NodeJS.Timeout | undefined;
  #expected = 0;
  #size = 0;
  /** Versions in the order they were started. */
  readonly started: string[] = [];
  /** Bytes that uploads brought since the beginning: what is begun anew counts again. */
  uploadedBytes = 0;

  constructor(deps: SimulatedMcubootDeps, options: SimulatedMcubootOptions = {}) {
    this.#deps = deps;
    this.#options = {
      ...{ slotBytes: 65_536, writeBytes: 8, receiveBytes: 512, windowMs: 300 },
      ...{ listsHashes: true, knowsParameters: true, knowsSlots: true },
      ...options,
    };
    this.slot = deps.flash ?? newSlot(this.#options.slotBytes);
    this.#lines = new RecoveryLines(this.#options.receiveBytes);
  }

  get runs(): Running['what'] {
    return this.#running.what;
  }

  /** The image's version when it is whole and signed. */
  get version(): string | null {
    return this.#image()?.version ?? null;
  }

  /** As by a programmer. */
  burn(image: Buffer): void {
    this.slot.bytes.fill(0xff).set(image);
  }

  /** The reset pin, or power that comes back. */
  reset(toBootLoader = false): void {
    this.powerOff();
    this.#running = { what: 'boot loader' };
    this.#lines = new RecoveryLines(this.#options.receiveBytes);
    this.#expected = 0;
    this.#size = 0;
    if (toBootLoader || this.#image() === null) return;
    this.#window = setTimeout(() => this.#startApplication(), this.#options.windowMs);
  }

  powerOff(): void {
    clearTimeout(this.#window);
    if (this.#running.what === 'application') this.#running.application.stop();
    this.#running = { what: 'nothing' };
  }

  receive(bytes: Buffer): void {
    if (this.#running.what === 'application') this.#running.application.receive(bytes);
    if (this.#running.what !== 'boot loader') return;
    for (const request of this.#lines.push(bytes)) {
      this.#obey(request);
      // A power cut, or a reset, drops what was behind it.
      if (this.#running.what !== 'boot loader') return;
    }
  }

  #startApplication(): void {
    const image = this.#image();
    if (image === null) return;
    this.started.push(image.version);
    const application = this.#deps.start(image.version, {
      write: (bytes) => this.#deps.write(bytes),
      reset: (toBootLoader) => this.reset(toBootLoader),
    });
    this.#running = { what: 'application', application };
  }

  #image(): { readonly version: string; readonly hash: Buffer } | null {
    try {
      const image = readMcubootImage(this.slot.bytes);
      const { publicKey } = this.#options;
      if (publicKey === undefined) return image;
      const signature = signatureIn(this.slot.bytes);
      return signature !== null && verify(null, image.hash, publicKey, signature) ? image : null;
    } catch {
      return null;
    }
  }

  #obey(request: Buffer): void {
    const operation = request.readUInt8(0) & 0x07;
    if (operation !== 0 && operation !== 2) return;
    // Any request keeps the boot loader from starting the application.
    clearTimeout(this.#window);
    const command = `${String(request.readUInt16BE(4))}/${String(request.readUInt8(7))}`;
    const { body, isReset } = this.#answer(command, operation, request.subarray(8));
    this.#deps.write(encodeAnswer(request, body));
    if (isReset !== true) return;
    setImmediate(() => {
      // The power may be off by then.
      if (this.runs === 'boot loader') this.reset();
    });
  }

  #answer(
    command: string,
    operation: number,
    payload: Buffer,
  ): { body: Record<string, unknown>; isReset?: boolean } {
    const { knowsParameters, knowsSlots, receiveBytes } = this.#options;
    switch (command) {
      case '1/0':
        return { body: operation === 0 ? { images: this.#list() } : { rc: notSupported } };
      case '1/1':
        return { body: this.#upload(payload) };
      case '1/6':
        return { body: knowsSlots ? { images: this.#slots() } : { rc: notSupported } };
      case '0/0':
        return { body: { r: readMap(payload).d } };
      case '0/1':
        return { body: { rc: 0 } };
      case '0/5':
        return { body: { rc: 0 }, isReset: true };
      case '0/6':
        return {
          body: knowsParameters ? { buf_size: receiveBytes, buf_count: 1 } : { rc: notSupported },
        };
      default:
        return { body: { rc: notSupported } };
    }
  }

  #list(): Record<string, unknown>[] {
    const image = this.#image();
    if (image === null) return [];
    return [
      {
        slot: 0,
        ...(this.#options.listsHashes && { hash: image.hash }),
        version: image.version.replace('+', '.'),
      },
    ];
  }

  #slots(): Record<string, unknown>[] {
    return [{ image: 0, slots: [{ slot: 0, size: this.slot.bytes.length, upload_image_id: 0 }] }];
  }

  #upload(payload: Buffer): Record<string, unknown> {
    const { off, data, len } = readMap(payload);
    if (typeof off !== 'number' || !(data instanceof Uint8Array)) return { rc: invalidValue };
    const { bytes, changed } = this.slot;
    if (off === 0) {
      this.#expected = 0;
      if (typeof len !== 'number' || len > bytes.length) return { rc: invalidValue };
      changed(() => bytes.fill(0xff));
      this.#size = len;
    } else if (off !== this.#expected) {
      return { rc: 0, off: this.#expected };
    } else if (off + data.length > this.#size) {
      return { rc: invalidValue };
    }
    const isLast = off + data.length === this.#size;
    const { writeBytes } = this.#options;
    const taken = isLast ? data.length : data.length - (data.length % writeBytes);
    changed(() => bytes.set(data.subarray(0, taken), off));
    this.#expected += taken;
    this.uploadedBytes += taken;
    return { rc: 0, off: this.#expected };
  }
}

const readMap = (payload: Buffer): Record<string, unknown> => {
  try {
    const value: unknown = decode(payload);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    return { error: messageOf(error) };
  }
};

/** The Ed25519 entry behind the digest. */
const signatureIn = (slot: Buffer): Buffer | null => {
  let at = slot.readUInt16LE(8) + slot.readUInt16LE(10) + slot.readUInt32LE(12) + 4;
  const end = at - 4 + slot.readUInt16LE(at - 2);
  while (at + 4 <= end) {
    const length = slot.readUInt16LE(at + 2);
    if (slot.readUInt16LE(at) === 0x24) return slot.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  return null;
};
