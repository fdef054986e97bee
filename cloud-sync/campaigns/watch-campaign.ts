/** A campaign now and at each change, until it is over. */
import type { Signals } from '../bus/signals.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type CampaignRow, requireCampaign } from './campaign-records.js';

export interface WatchDependencies {
  readonly engine: SqlEngine;
  readonly signals: Signals;
}

/**
 * Ends with the campaign, or when the signal aborts. Changes while the reader is busy come as one, so that a slow reader costs no
 * memory. Errors: RESOURCE_NOT_FOUND.
 */
export const watchCampaign = async function* (
  { engine, signals }: WatchDependencies,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<CampaignRow> {
  let wake = (): void => undefined;
  const onChange = (): void => wake();
  const unsubscribe = signals.subscribe(`campaign:${id}`, onChange);
  signal.addEventListener('abort', onChange, { once: true });
  try {
    while (!signal.aborted) {
      // Armed before the read, so that a change during it is not missed.
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const row = await requireCampaign(engine.read, id);
      yield row;
      if (row.state === 'completed' || row.state === 'cancelled' || signal.aborted) return;
      await changed;
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', onChange);
  }
};
