/** Writes a file that is there whole or not at all, also after a power cut. */
import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

/** Never replaces a file. Errors: RESOURCE_EXISTS, whatever the file system throws. */
export const writeFileOnce = (path: string, text: string | Buffer, mode: number): Promise<void> =>
  write(path, text, mode, async (temporary) => {
    try {
      await link(temporary, path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
      throw new HoldfastError('RESOURCE_EXISTS', `${path} is there already`, { cause });
    } finally {
      await rm(temporary, { force: true });
    }
  });

/** Replaces a file. Errors: whatever the file system throws. */
export const replaceFile = (path: string, text: string | Buffer, mode: number): Promise<void> =>
  write(path, text, mode, (temporary) => rename(temporary, path));

const write = async (
  path: string,
  text: string | Buffer,
  mode: number,
  place: (temporary: string) => Promise<void>,
): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await place(temporary);
  const folder = await open(dirname(path));
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
