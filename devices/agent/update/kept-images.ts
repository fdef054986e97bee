/**
 * The images that were installed last, kept for the deltas of the next ones. They are links to what was downloaded where there are links,
 * so that keeping one takes no time and writes nothing.
 */
import { copyFile, link, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface KeptImagesOptions {
  readonly folder: string;
  /** So many images at most: what runs, and what it took the place of, which may come back. */
  readonly most?: number;
}

export const keptImagesFolder = (directory: string): string => join(directory, 'images');

const digestPattern = /^[0-9a-f]{64}$/;

export class KeptImages {
  readonly #folder: string;
  readonly #most: number;

  constructor({ folder, most = 2 }: KeptImagesOptions) {
    this.#folder = folder;
    this.#most = most;
  }

  /** Where the image with this digest stands; undefined when it is not kept. */
  async find(sha256: string): Promise<string | undefined> {
    if (!digestPattern.test(sha256)) return undefined;
    const path = join(this.#folder, sha256);
    return stat(path).then(
      () => path,
      () => undefined,
    );
  }

  /** As `find`; from now on it is the newest, and the last to be forgotten. */
  async touch(sha256: string): Promise<string | undefined> {
    const path = await this.find(sha256);
    const now = new Date();
    // One that is gone meanwhile is not there.
    return (
      path &&
      utimes(path, now, now).then(
        () => path,
        () => undefined,
      )
    );
  }

  /**
   * Keeps a file that was verified, and forgets the oldest. Repeating it gives the same. Never rejects: what cannot be kept has the next image
   * come whole. Resolves with why that is, or undefined.
   */
  async keep(path: string, sha256: string): Promise<string | undefined> {
    if (this.#most === 0) return undefined;
    if ((await this.find(sha256)) !== undefined) return undefined;
    const kept = join(this.#folder, sha256);
    try {
      await mkdir(this.#folder, { recursive: true });
      await link(path, kept).catch(async () => {
        // From another file system, or on one without links. What a break leaves has another name.
        await copyFile(path, `${kept}.copying`);
        await rename(`${kept}.copying`, kept);
      });
      await this.#forgetOldest();
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  async #forgetOldest(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    const images = await Promise.all(
      names.map(async (name) => {
        const path = join(this.#folder, name);
        return { path, at: (await stat(path)).mtimeMs };
      }),
    );
    const oldest = images.sort((a, b) => b.at - a.at).slice(this.#most);
    for (const { path } of oldest) await rm(path, { force: true });
  }
}
