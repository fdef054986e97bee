/** A wait that can be cancelled. */

/** Waits `ms` milliseconds; rejects with the signal's reason as soon as it aborts. Injected where a test must not wait. */
export type Wait = (ms: number, signal?: AbortSignal) => Promise<void>;

/** The longest delay that timers can take; longer ones would fire at once. */
const longestMs = 2 ** 31 - 1;

export const wait: Wait = (ms, signal) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
      Math.min(Math.max(ms, 0), longestMs),
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });

/** Waits until an event target's signal aborts: for a program that has nothing left to do but be stopped. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
