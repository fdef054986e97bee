/** The flash of a simulated microcontroller: the version it runs, and as much of the next image as is there; it survives the program. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';
import { readOutcome, type SimulatedOutcome } from './simulated-outcome.js';

const schema = v.object({ version: v.string() });
type Running = v.InferOutput<typeof schema>;

export class SimulatedFlash {
  readonly #directory: string;
  readonly #running: StoredRecord<Running>;

  /** Use `openSimulatedFlash`. */
  constructor(directory: string, running: StoredRecord<Running>) {
    this.#directory = directory;
    this.#running = running;
  }

  get version(): string {
    return this.#running.data.version;
  }

  /** Makes room for this image; says how much of it is there from before. */
  async begin(sha256: string): Promise<number> {
    for (const name of await readdir(this.#directory)) {
      if (name.startsWith('image-') && name !== `image-${sha256}`) {
        await rm(join(this.#directory, name), { force: true });
      }
    }
    return stat(this.#image(sha256)).then(
      ({ size }) => size,
      () => 0,
    );
  }

  async write(sha256: string, offset: number, bytes: Uint8Array): Promise<void> {
    const file = await open(this.#image(sha256), offset === 0 ? 'w' : 'r+');
    try {
      await file.write(bytes, 0, bytes.length, offset);
    } finally {
      await file.close();
    }
  }

  async isWhole(sha256: string): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(this.#image(sha256))) hash.update(chunk as Buffer);
    return hash.digest('hex') === sha256;
  }

  async discard(sha256: string): Promise<void> {
    await rm(this.#image(sha256), { force: true });
  }

  outcome(sha256: string): Promise<SimulatedOutcome> {
    return readOutcome(this.#image(sha256));
  }

  /** From now on it runs this. */
  async boot(version: string): Promise<void> {
    await this.#running.update(() => ({ version }));
  }

  #image(sha256: string): string {
    return join(this.#directory, `image-${sha256}`);
  }
}

export const openSimulatedFlash = async (
  { log }: { readonly log: StoreLog },
  { directory, version }: { readonly directory: string; readonly version: string },
): Promise<SimulatedFlash> => {
  await mkdir(directory, { recursive: true });
  const running = await openRecord<Running>({
    path: join(directory, 'running.json'),
    parse: (value) => v.parse(schema, value),
    initial: { version },
    log,
  });
  return new SimulatedFlash(directory, running);
};
