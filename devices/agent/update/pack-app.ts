/**
 * Makes an application archive of a folder with a `holdfast-app.json` in it, compressed where its name ends in `.gz` or `.tgz`: the same folder gives the same bytes.
 *
 * Errors: `UPDATE_MANIFEST_INVALID`, `UPDATE_ARCHIVE_REFUSED` (what a device would refuse is not packed).
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from 'tar';
import { type AppManifest, manifestName, parseManifest } from './app-manifest.js';
import { inspectArchive } from './archive.js';

export const packApp = async (folder: string, archive: string): Promise<AppManifest> => {
  parseManifest(await readFile(join(folder, manifestName)));
  const names = (await readdir(folder)).sort();
  // Without owners, times and the names of this machine, so that the digest depends on the content alone. Not compressed unless asked
  // for: deltas of compressed archives are worth nothing, and what travels is compressed anyway.
  const gzip = /\.t?gz$/.test(archive) && { gzip: { portable: true } };
  await create({ file: archive, cwd: folder, ...gzip, portable: true, mtime: new Date(0) }, names);
  return inspectArchive(archive, AbortSignal.timeout(60_000));
};
