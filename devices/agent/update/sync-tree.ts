/** Makes files durable: what is synced here is there after a power cut. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Makes a file's bytes durable, or the names in a directory. */
export const syncPath = async (path: string): Promise<void> => {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** Makes everything below a directory durable: files first, then the names that lead to them. */
export const syncTree = async (path: string): Promise<void> => {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    await (entry.isDirectory() ? syncTree(child) : syncPath(child));
  }
  await syncPath(path);
};
