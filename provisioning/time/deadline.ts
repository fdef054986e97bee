/** A limit on how long something may take. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

/** Work that is told when nobody waits for it any longer. */
export type Cancellable<T> = (signal: AbortSignal) => Promise<T>;

export interface DeadlineOptions {
  /** Ends the wait early, with its own reason. */
  readonly signal?: AbortSignal | undefined;
  /** What was being done, for the message: "connecting to 10.0.0.1:8883". */
  readonly doing?: string;
}

/**
 * Resolves as the work does, or rejects with DEADLINE_EXCEEDED after `ms` milliseconds, or with the signal's reason. Work given
 * as a function gets a signal that aborts in either case; a promise goes on unobserved.
 */
export const withDeadline = async <T>(
  work: Promise<T> | Cancellable<T>,
  ms: number,
  { signal, doing }: DeadlineOptions = {},
): Promise<T> => {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const ended = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), {
      once: true,
    });
  });
  const onAbort = () => controller.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    const message = `${doing ?? 'this'} took longer than ${ms} ms`;
    controller.abort(new HoldfastError('DEADLINE_EXCEEDED', message, { data: { ms } }));
  }, ms);
  try {
    const running = typeof work === 'function' ? work(controller.signal) : work;
    // Whichever comes second is nobody's concern any more.
    running.catch(() => undefined);
    ended.catch(() => undefined);
    return await Promise.race([running, ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
};
