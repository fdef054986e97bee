/** A bar that says how far something with many bytes is, where a person looks at it. */
import { SingleBar } from 'cli-progress';
import type { Terminal } from '../../terminal.js';

/** Below this it is over before it was seen. */
const leastBytes = 4 * 1024 * 1024;

export const withProgress = async <T>(
  terminal: Terminal,
  doing: string,
  sizeBytes: number,
  work: (onProgress: (doneBytes: number) => void) => Promise<T>,
): Promise<T> => {
  if (!terminal.isInteractive || sizeBytes < leastBytes) return work(() => undefined);
  const bar = new SingleBar({
    format: `${doing} {bar} {percentage}% · {value}/{total} bytes · {eta_formatted} left`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
  });
  bar.start(sizeBytes, 0);
  try {
    return await work((doneBytes) => bar.update(doneBytes));
  } finally {
    bar.stop();
  }
};
