import type { Performer } from '../store/outbox.js';
import type { ShadowChange } from './shadow-change.js';

/** A door that tells its devices of committed changes; called again after a crash, so telling twice does no harm. */
export interface ShadowListener {
  shadowChanged(change: ShadowChange, signal: AbortSignal): Promise<void>;
}

/** Performs the effects of the kind `shadowChanged`: every door is told, and finds out what of it is for its devices. */
export const performShadowChanges =
  (doors: readonly ShadowListener[]): Performer =>
  async (body, _id, signal) => {
    const change = body as ShadowChange; // ours: it was committed with the change
    for (const door of doors) await door.shadowChanged(change, signal);
  };
