/**
 * Makes a folder with what lies above it. Node's own way (`recursive`) turns in circles for ever where the system says of a folder that
 * is there that it is not, as /proc does.
 *
 * Errors: STORE_UNAVAILABLE, with what to do.
 */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

/** `path` is absolute or below the working folder; what lies above it is made with the rights of every folder. */
export const makeFolder = async (path: string, mode = 0o777): Promise<void> => {
  try {
    await make(path, mode);
  } catch (error) {
    throw new HoldfastError(
      'STORE_UNAVAILABLE',
      `the folder ${path} cannot be made: ${messageOf(error)}`,
      {
        cause: error,
        data: { next: 'name another folder (--data), or make it and give it to whoever runs this' },
      },
    );
  }
};

const make = async (path: string, mode: number): Promise<void> => {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && (await isFolder(path))) return;
    const above = dirname(path);
    if (code !== 'ENOENT' || above === path || (await isFolder(above))) throw error;
    await make(above, 0o777);
    await mkdir(path, { mode }).catch(async (again: unknown) => {
      if (codeOf(again) !== 'EEXIST' || !(await isFolder(path))) throw again;
    });
  }
};

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() === true;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
