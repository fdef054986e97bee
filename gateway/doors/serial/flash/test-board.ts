/**
 * A microcontroller with a boot loader, for tests: its flash holds pages, its application speaks the line protocol when the flash is whole,
 * and power, port and single pages can be taken from it at any point. What speaks to its loader does so past the wire: the real loaders
 * have tests of their own.
 */

import type { LoaderProtocol } from '@holdfast/devices/serial/flash/loader-protocol';
import { encodeFrame, parseDownFrame } from '@holdfast/devices/serial/frames';
import { PortPair } from '@holdfast/devices/serial/port/port-pair';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

/** What an image does when it runs. */
export interface TestApplication {
  readonly image: Buffer;
  /** What its hello says; null: it says nothing, ever. */
  readonly says: string | null;
}

const pageBytes = 128;

/** An image that the part takes: it has a reset vector. */
export const testImage = (text: string, pages = 8): Buffer =>
  Buffer.concat([Buffer.from([0x0c, 0x94]), Buffer.alloc(pages * pageBytes - 2, text)]);

export class TestBoard {
  readonly pair = new PortPair();
  readonly device: string;
  readonly #applications: TestApplication[];
  /** What its flash holds; a page that was never written is erased. */
  #flash = new Map<number, string>();
  #pages = 0;
  #mode: 'application' | 'loader' | 'nothing' = 'nothing';
  #boots = 0;
  #rest = '';
  /** Pages written since the board was made. */
  writes = 0;
  /** Times it was reset into its loader. */
  resets = 0;
  isOff = false;
  /** It has nothing that it could draw another boot id from. */
  hasOneBoot = false;
  part = 'atmega328p';
  /** Before each page; rejects where it does not hold. */
  onPage: (write: number) => Promise<void> | void = () => undefined;
  /** Before the loader answers. */
  onOpen: () => Promise<void> | void = () => undefined;

  constructor(device: string, applications: readonly TestApplication[], runs: Buffer) {
    this.device = device;
    this.#applications = [...applications];
    this.hold(runs);
    let isLow = false;
    this.pair.far.onModemLines(({ dtr }) => {
      if (isLow && dtr) this.reset();
      isLow = !dtr;
    });
    this.pair.far.onData((bytes) => this.#hear(bytes.toString()));
    this.#run();
  }

  /** As if somebody else had flashed it. */
  hold(image: Buffer): void {
    this.#pages = Math.ceil(image.length / pageBytes);
    this.#flash = new Map(pagesOf(image).map((page, index) => [index, page]));
  }

  /** From now on the image of one version says it is another. */
  says(version: string, other: string): void {
    const at = this.#applications.findIndex(({ says }) => says === version);
    const known = this.#applications[at];
    if (known !== undefined) this.#applications[at] = { ...known, says: other };
  }

  /** The version that its flash holds whole; null for anything else, which never runs. */
  get holds(): string | null {
    return this.#application?.says ?? null;
  }

  get isWhole(): boolean {
    return this.#application !== undefined;
  }

  get boot(): string {
    return this.hasOneBoot ? 'b' : `b${this.#boots}`;
  }

  /** Whatever it did is over: it begins anew with what its flash holds. */
  powerCycle(): void {
    this.isOff = false;
    this.#run();
  }

  cutPower(): void {
    this.isOff = true;
    this.#mode = 'nothing';
  }

  reset(): void {
    if (this.isOff) return;
    this.resets += 1;
    this.#mode = 'loader';
  }

  readonly loader: LoaderProtocol = {
    name: 'stk500v1',
    open: async (_port, part, signal) => {
      await Promise.race([this.onOpen(), aborted(signal)]);
      this.#check(signal);
      return {
        identify: async () => {
          if (part.name !== this.part) {
            throw new HoldfastError('FLASH_PART_MISMATCH', `it is an ${this.part}`);
          }
          return { loader: 'a test' };
        },
        transfer: async ({ bytes }, options) => this.#transfer(bytes, options),
        leave: async () => this.#run(),
        close: () => undefined,
      };
    },
  };

  async #transfer(
    bytes: Buffer,
    { signal, onProgress }: Parameters<Awaited<ReturnType<LoaderProtocol['open']>>['transfer']>[1],
  ) {
    const pages = pagesOf(bytes);
    const first = pages[0] ?? '';
    const different = pages.flatMap((page, at) => (this.#flash.get(at) === page ? [] : [at]));
    if (different.length > 0) {
      // As the real ones: what runs first is written last, and until then leads back to the loader.
      const others = different.filter((at) => at > 0);
      await this.#write(0, 'filler', signal);
      this.#pages = pages.length;
      for (const [done, at] of others.entries()) {
        await this.#write(at, pages[at] ?? '', signal);
        const doneBytes = Math.floor(((done + 1) * bytes.length) / pages.length);
        onProgress?.({ stage: 'write', doneBytes, totalBytes: bytes.length });
      }
      await this.#write(0, first, signal);
    }
    const writtenBytes = different.length * pageBytes;
    return { writtenBytes, keptBytes: bytes.length - writtenBytes };
  }

  async #write(at: number, page: string, signal: AbortSignal): Promise<void> {
    this.#check(signal);
    this.writes += 1;
    await this.onPage(this.writes);
    this.#check(signal);
    this.#flash.set(at, page);
    await new Promise((resolve) => setImmediate(resolve));
  }

  #check(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.isOff || this.#mode !== 'loader') {
      throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'nothing answers');
    }
  }

  get #application(): TestApplication | undefined {
    return this.#applications.find(({ image }) => {
      const pages = pagesOf(image);
      return (
        pages.length === this.#pages && pages.every((page, at) => this.#flash.get(at) === page)
      );
    });
  }

  #run(): void {
    this.#mode = this.isWhole ? 'application' : 'nothing';
    this.#boots += 1;
    this.#rest = '';
    this.#sayHello();
  }

  #sayHello(): void {
    const says = this.holds;
    if (says === null) return;
    const { device: id, boot } = this;
    const model = 'serial-simulated';
    this.pair.far.write(encodeFrame({ t: 'hello', id, model, version: says, boot }, false));
  }

  #hear(text: string): void {
    if (this.#mode !== 'application' || this.isOff) return;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (lines.some((line) => parseDownFrame(line)?.frame.t === 'who')) this.#sayHello();
  }
}

const pagesOf = (image: Buffer): string[] =>
  Array.from({ length: Math.ceil(image.length / pageBytes) }, (_, page) =>
    image.subarray(page * pageBytes, (page + 1) * pageBytes).toString('latin1'),
  );
