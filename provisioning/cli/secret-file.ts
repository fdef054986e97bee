/** A file for codes, which only its owner may read; opened before the codes are made, since they are shown once. */
import { type FileHandle, open } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

/** Errors: REQUEST_INVALID for a path that cannot be written. */
export const openSecretFile = async (path: string): Promise<FileHandle> => {
  try {
    return await open(path, 'w', 0o600);
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', `${path} cannot be written: ${messageOf(cause)}`, {
      cause,
    });
  }
};
