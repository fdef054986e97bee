/** Waits for something that happens in another process, by asking; for tests and the quickstart, where nothing tells. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '../time/wait.js';

export interface WaitUntilOptions {
  readonly deadlineMs?: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal;
}

/** Asks until the answer is true. Errors: DEADLINE_EXCEEDED, with what was waited for; whatever `isDone` throws. */
export const waitUntil = async (
  what: string,
  isDone: () => boolean | Promise<boolean>,
  { deadlineMs = 60_000, everyMs = 200, signal }: WaitUntilOptions = {},
): Promise<void> => {
  const end = performance.now() + deadlineMs;
  while (!(await isDone())) {
    if (performance.now() > end) {
      throw new HoldfastError('DEADLINE_EXCEEDED', `${what}: not after ${deadlineMs} ms`);
    }
    await wait(everyMs, signal);
  }
};
