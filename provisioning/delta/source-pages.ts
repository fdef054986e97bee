/** The image that a delta is applied to, read by position through a few pages of memory: deltas jump about, but mostly close by. */
import { type FileHandle, open } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

const pageBytes = 64 * 1024;
const maxPages = 64;

export class SourcePages {
  readonly sizeBytes: number;
  readonly #file: FileHandle | null;
  /** In the order in which they came. */
  readonly #pages = new Map<number, Buffer>();

  private constructor(file: FileHandle | null, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  /** `null` is nothing: an image of no bytes. Errors: STORE_UNAVAILABLE. */
  static async open(path: string | null): Promise<SourcePages> {
    if (path === null) return new SourcePages(null, 0);
    const file = await open(path, 'r').catch(throwStorage);
    try {
      return new SourcePages(file, (await file.stat()).size);
    } catch (error) {
      await file.close();
      return throwStorage(error);
    }
  }

  /** Adds the source's bytes from `at` on to `bytes`, each modulo 256. All of them are to lie within the source. */
  async addTo(bytes: Buffer, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const index = Math.floor((at + done) / pageBytes);
      const page = this.#pages.get(index) ?? (await this.#load(index));
      const from = at + done - index * pageBytes;
      const count = Math.min(bytes.length - done, page.length - from);
      for (let i = 0; i < count; i += 1) {
        bytes[done + i] = (bytes[done + i] ?? 0) + (page[from + i] ?? 0);
      }
      done += count;
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #load(index: number): Promise<Buffer> {
    const oldest = this.#pages.size < maxPages ? undefined : this.#pages.entries().next().value;
    if (oldest !== undefined) this.#pages.delete(oldest[0]);
    const at = index * pageBytes;
    const wanted = Math.min(pageBytes, this.sizeBytes - at);
    const memory = oldest?.[1].buffer ?? new ArrayBuffer(pageBytes);
    const page = Buffer.from(memory, 0, wanted);
    for (let length = 0; length < wanted; ) {
      const { bytesRead = 0 } =
        (await this.#file?.read(page, length, wanted - length, at + length).catch(throwStorage)) ??
        {};
      if (bytesRead === 0) {
        throw new HoldfastError('STORE_UNAVAILABLE', 'the source has become shorter');
      }
      length += bytesRead;
    }
    this.#pages.set(index, page);
    return page;
  }
}

const throwStorage = (error: unknown): never => {
  throw new HoldfastError('STORE_UNAVAILABLE', messageOf(error), { cause: error });
};
