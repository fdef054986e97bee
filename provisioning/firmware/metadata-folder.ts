/** A folder of metadata as it is signed and published: `root.{version}.json` for each root, `{role}.json` for each other role. Nothing in it is secret. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { makeFolder } from '../storage/make-folder.js';
import { isRoleName, largestTargetsBytes, type MetadataFile, metadataId } from './metadata-file.js';
import { replaceFile } from './place-file.js';

export class MetadataFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get path(): string {
    return this.#folder;
  }

  /** Every file; none when there is no such folder. Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS. */
  async read(): Promise<MetadataFile[]> {
    const names = await readdir(this.#folder).catch((error: NodeJS.ErrnoException): string[] => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    const files = await Promise.all(
      names.map((name) => {
        const role = roleOfFile(name);
        return role === undefined ? undefined : readMetadataFile(join(this.#folder, name), role);
      }),
    );
    return files
      .filter((file) => file !== undefined)
      .sort((a, b) => compare(a.role, b.role) || a.version - b.version);
  }

  /** Writes a file in the place of the one that was there. */
  async write(file: MetadataFile): Promise<void> {
    await makeFolder(this.#folder, 0o755);
    await replaceFile(this.pathOf(file), `${file.signed}\n`, 0o644);
  }

  pathOf(file: MetadataFile): string {
    return join(this.#folder, `${metadataId(file)}.json`);
  }
}

/** Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS. */
export const readMetadataFile = async (path: string, role: string): Promise<MetadataFile> => {
  const invalid = (why: string, cause?: unknown) =>
    new HoldfastError('FIRMWARE_METADATA_INVALID', `${path}: ${why}`, { cause });
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw invalid(messageOf(cause), cause);
  });
  if (text.length > 2 * largestTargetsBytes) {
    throw new HoldfastError('FIRMWARE_DATA_ENDLESS', `${path} is larger than any metadata`);
  }
  // Editors and version control like a newline at the end of a file; what is signed has none.
  const signed = text.replace(/\r?\n$/, '');
  try {
    const { version } = JSON.parse(signed).signed;
    if (!Number.isSafeInteger(version)) throw new TypeError('it has no version');
    return { role, version, signed };
  } catch (cause) {
    throw invalid(messageOf(cause), cause);
  }
};

const roleOfFile = (name: string): string | undefined => {
  if (/^root\.\d+\.json$/.test(name)) return 'root';
  const role = name.endsWith('.json') ? name.slice(0, -'.json'.length) : '';
  return role === 'targets' || isRoleName(role) ? role : undefined;
};

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
