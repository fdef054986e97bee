/** Watching across connections: when one is lost, the next goes on where it stopped. */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import type { WatchEvent } from './shadow-source.js';

export type FollowEvent =
  | WatchEvent
  | { readonly kind: 'lost'; readonly reason: string; readonly delayMs: number };

/** One connection, from a position on, until it ends or rejects. */
export type OpenWatch = (
  after: string | undefined,
  signal: AbortSignal,
) => AsyncIterable<WatchEvent>;

export interface FollowOptions {
  /** A connection on which nothing comes for so long is taken for dead: three times what the far end lets pass. */
  readonly silenceMs?: number;
  readonly firstRetryMs?: number;
  readonly mostRetryMs?: number;
  readonly wait?: Wait;
}

/** Ends with the signal. Rejects where the first connection does, and where trying again would not help. */
export async function* followShadow(
  open: OpenWatch,
  signal: AbortSignal,
  { silenceMs = 45_000, firstRetryMs = 1_000, mostRetryMs = 30_000, ...given }: FollowOptions = {},
): AsyncGenerator<FollowEvent> {
  const pause = given.wait ?? wait;
  const newDelays = () => backoff({ firstMs: firstRetryMs, mostMs: mostRetryMs });
  let delays = newDelays();
  let position: string | undefined;
  while (!signal.aborted) {
    const connection = new AbortController();
    const silence = setTimeout(
      () => connection.abort(new Error('nothing comes any more')),
      silenceMs,
    );
    let reason = 'it was closed';
    try {
      for await (const event of open(position, AbortSignal.any([signal, connection.signal]))) {
        silence.refresh();
        delays = newDelays();
        position = positionAfter(event) ?? position;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (position === undefined || !isWorthAnother(error)) throw error;
      reason = messageOf(connection.signal.aborted ? connection.signal.reason : error);
    } finally {
      clearTimeout(silence);
      connection.abort();
    }
    if (signal.aborted) return;
    const delayMs = delays.next().value ?? mostRetryMs;
    yield { kind: 'lost', reason, delayMs };
    await pause(delayMs, signal).catch(() => undefined);
  }
}

const positionAfter = (event: WatchEvent): string | undefined => {
  if (event.kind === 'alive') return undefined;
  return event.kind === 'change' ? event.change.position : event.position;
};

/** Whatever is no answer of the far end is the network's. */
const isWorthAnother = (error: unknown): boolean => !isHoldfastError(error) || error.isRetryable;
