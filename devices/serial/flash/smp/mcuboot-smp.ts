/**
 * MCUboot's serial recovery as one of the boot loaders. It takes an image whole and checks it itself: the digest and, where it was built
 * with a key, the signature, of what it starts and of what it lists. So half an image never runs, and a listed digest that is ours is the
 * proof that all of it is there.
 *
 * It keeps the place of an upload in memory alone: whoever comes back to a loader that was not reset goes on where it stood, everybody
 * else begins at 0, which erases the slot.
 */
import { createHash } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import {
  isListedAs,
  type McubootImage,
  readMcubootImage,
} from '@holdfast/provisioning/firmware/flash/mcuboot-image';
import type { BytePort } from '../../port/byte-port.js';
import type {
  Loader,
  LoaderIdentity,
  LoaderProtocol,
  TransferOptions,
  TransferReport,
} from '../loader-protocol.js';
import { type SmpAnswer, SmpClient } from './smp-client.js';
import { packetRoom } from './smp-framing.js';

/** Longer than it waits for a request after a reset (500 ms), with the start of the board before it. */
const knockMs = 2_000;
const knockEveryMs = 150;
/** What it takes when it does not say: the smallest that MCUboot is built with unless somebody changed it. */
const usualBufferBytes = 512;
const mostBufferBytes = 4_096;
/** The header, and everything of the first part but its data: the other parts could hold 50 bytes more. */
const envelopeBytes = 8 + 80;
/** The first part erases the whole slot, unless it was built to erase as it goes. */
const eraseTimeoutMs = 20_000;
const answerTimeoutMs = 3_000;
/** Listing checks digest and signature of what is there. */
const listTimeoutMs = 10_000;
const attempts = 4;
/** Answers that bring an upload no further, or back to where it was: one that was reset begins at 0. */
const mostSetbacks = 5;

export const mcubootSmp: LoaderProtocol = {
  name: 'mcuboot-smp',
  open: async (port, _part, signal) => {
    const client = new SmpClient(port);
    client.open();
    try {
      const bufferBytes = await knock(client, port, signal);
      return new McubootLoader(client, Math.min(bufferBytes, mostBufferBytes));
    } catch (error) {
      client.close();
      throw error;
    }
  },
};

/** Any request keeps it from starting the application; gives the size of its buffer. */
const knock = async (client: SmpClient, port: BytePort, signal: AbortSignal): Promise<number> => {
  const until = performance.now() + knockMs;
  while (performance.now() < until) {
    // Ends whatever stands in its line since the reset.
    await port.write(Buffer.from('\n'), signal);
    try {
      const answer = await client.ask({ command: 'parameters', timeoutMs: knockEveryMs }, signal);
      return typeof answer.buf_size === 'number' ? answer.buf_size : usualBufferBytes;
    } catch (error) {
      signal.throwIfAborted();
      if (isHoldfastError(error, 'FLASH_REFUSED')) return usualBufferBytes;
      if (!isHoldfastError(error, 'DEADLINE_EXCEEDED')) throw error;
    }
  }
  throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'No MCUboot answers on the line');
};

interface Listed {
  readonly slot: number;
  readonly version: string;
  readonly hash: Buffer | null;
}

class McubootLoader implements Loader {
  readonly #client: SmpClient;
  readonly #dataBytes: number;

  constructor(client: SmpClient, bufferBytes: number) {
    this.#client = client;
    this.#dataBytes = Math.max(packetRoom(bufferBytes) - envelopeBytes, 16);
  }

  async identify(image: FlashImage, signal: AbortSignal): Promise<LoaderIdentity> {
    readMcubootImage(image.bytes);
    const room = await this.#room(signal);
    if (room !== null && image.bytes.length > room) {
      const message = `The image takes ${String(image.bytes.length)} bytes; its slot has ${String(room)}`;
      throw new HoldfastError('FLASH_IMAGE_TOO_LARGE', message);
    }
    return { loader: 'MCUboot' };
  }

  async transfer(
    { bytes }: FlashImage,
    { signal, onProgress }: TransferOptions,
  ): Promise<TransferReport> {
    const image = readMcubootImage(bytes);
    const totalBytes = bytes.length;
    onProgress?.({ stage: 'compare', doneBytes: 0, totalBytes });
    if (await this.#holds(image, signal)) return { writtenBytes: 0, keptBytes: totalBytes };
    const wrote = (doneBytes: number) => onProgress?.({ stage: 'write', doneBytes, totalBytes });
    const begun = await this.#begun(bytes, signal);
    const isResumed = begun > 0 && (await this.#resume(bytes, begun, wrote, signal));
    if (isResumed && (await this.#holds(image, signal))) {
      return { writtenBytes: totalBytes - begun, keptBytes: begun };
    }
    // What stood there was another upload's.
    await this.#upload(bytes, 0, wrote, signal);
    onProgress?.({ stage: 'verify', doneBytes: totalBytes, totalBytes });
    if (await this.#holds(image, signal)) return { writtenBytes: totalBytes, keptBytes: 0 };
    const why = 'it may be signed with another key than the boot loader has';
    const message = `MCUboot does not list the image after its upload: ${why}`;
    throw new HoldfastError('FLASH_VERIFY_FAILED', message);
  }

  async leave(signal: AbortSignal): Promise<void> {
    try {
      const timeoutMs = answerTimeoutMs;
      await this.#client.ask({ command: 'reset', write: true, timeoutMs }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // The answer may be lost; whether it has reset, the application's hello says.
      if (!isHoldfastError(error, 'DEADLINE_EXCEEDED')) throw error;
    }
  }

  close(): void {
    this.#client.close();
  }

  /** Whether its primary slot has this image, whole and signed. One that lists no digests is believed the version. */
  async #holds({ hash, version }: McubootImage, signal: AbortSignal): Promise<boolean> {
    const request = { command: 'imageState', timeoutMs: listTimeoutMs, attempts } as const;
    const { images } = await this.#ask(this.#client.ask(request, signal));
    const primary = listedOf(images).find(({ slot }) => slot === 0);
    if (primary === undefined) return false;
    return primary.hash === null ? isListedAs(version, primary.version) : primary.hash.equals(hash);
  }

  /** What fits into the slot, where it says so. */
  async #room(signal: AbortSignal): Promise<number | null> {
    try {
      const request = { command: 'slotInfo', timeoutMs: answerTimeoutMs } as const;
      return roomIn(await this.#client.ask(request, signal));
    } catch (error) {
      signal.throwIfAborted();
      const isUnsaid = ['FLASH_REFUSED', 'DEADLINE_EXCEEDED'] as const;
      if (isUnsaid.some((code) => isHoldfastError(error, code))) return null;
      throw error;
    }
  }

  /** Where an upload stands that was begun since its reset; asked with an offset that none has. */
  async #begun(bytes: Buffer, signal: AbortSignal): Promise<number> {
    const body = { off: bytes.length + 1, data: Buffer.alloc(1) };
    const request = {
      command: 'imageUpload',
      write: true,
      body,
      timeoutMs: answerTimeoutMs,
    } as const;
    try {
      const { off } = await this.#ask(this.#client.ask({ ...request, attempts }, signal));
      return typeof off === 'number' && off < bytes.length ? off : 0;
    } catch (error) {
      if (isHoldfastError(error, 'FLASH_REFUSED')) return 0;
      throw error;
    }
  }

  /** False when it was an upload of another image after all. */
  async #resume(
    bytes: Buffer,
    begun: number,
    wrote: (doneBytes: number) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.#upload(bytes, begun, wrote, signal);
      return true;
    } catch (error) {
      // Too long for the other, or it waits for an end that never comes.
      const isOther = ['FLASH_REFUSED', 'FLASH_VERIFY_FAILED'] as const;
      if (isOther.some((code) => isHoldfastError(error, code))) return false;
      throw error;
    }
  }

  async #upload(
    bytes: Buffer,
    from: number,
    wrote: (doneBytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let offset = from;
    let setbacks = 0;
    wrote(offset);
    while (offset < bytes.length) {
      const next = await this.#sendPart(bytes, offset, signal);
      setbacks += next > offset ? 0 : 1;
      if (setbacks > mostSetbacks) {
        const message = `MCUboot takes no more of the image from byte ${String(next)} on`;
        throw new HoldfastError('FLASH_VERIFY_FAILED', message);
      }
      offset = next;
      wrote(offset);
    }
  }

  /** Gives where to go on, which is the loader's to say. */
  async #sendPart(bytes: Buffer, off: number, signal: AbortSignal): Promise<number> {
    const data = bytes.subarray(off, off + this.#dataBytes);
    const first = off === 0 && {
      image: 0,
      len: bytes.length,
      sha: createHash('sha256').update(bytes).digest(),
    };
    const body = { ...first, off, data };
    const timeoutMs = off === 0 ? eraseTimeoutMs : answerTimeoutMs;
    const request = { command: 'imageUpload', write: true, body, timeoutMs, attempts } as const;
    const answer = await this.#ask(this.#client.ask(request, signal));
    if (typeof answer.off === 'number' && answer.off <= bytes.length) return answer.off;
    throw new HoldfastError('FLASH_VERIFY_FAILED', 'MCUboot does not say where to go on');
  }

  /** A loader that answered before and does not any more was reset, or cut off. */
  async #ask(answer: Promise<SmpAnswer>): Promise<SmpAnswer> {
    try {
      return await answer;
    } catch (cause) {
      if (!isHoldfastError(cause, 'DEADLINE_EXCEEDED')) throw cause;
      throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'MCUboot has gone silent', { cause });
    }
  }
}

const listedOf = (images: unknown): Listed[] => {
  if (!Array.isArray(images)) return [];
  return images.flatMap((image: unknown) => {
    if (typeof image !== 'object' || image === null) return [];
    const { slot, version, hash } = image as Record<string, unknown>;
    if (typeof slot !== 'number' || typeof version !== 'string') return [];
    return [{ slot, version, hash: hash instanceof Uint8Array ? Buffer.from(hash) : null }];
  });
};

const roomIn = ({ images }: SmpAnswer): number | null => {
  const [image] = Array.isArray(images) ? images : [];
  if (typeof image !== 'object' || image === null) return null;
  const { max_image_size: most, slots } = image as Record<string, unknown>;
  if (typeof most === 'number') return most;
  const [slot] = Array.isArray(slots) ? slots : [];
  const size = (slot as Record<string, unknown> | undefined)?.size;
  return typeof size === 'number' ? size : null;
};
