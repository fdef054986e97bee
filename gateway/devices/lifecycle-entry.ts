/** A step in the life of a device as the journal tells it. */
import { compareTimes, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import type { Append } from '@holdfast/provisioning/storage/write';
import { journalEntry } from '../store/journal.js';
import type { DeviceLifecycle } from './lifecycle.js';

/** For the write of the change. `at`: epoch ms by the site's clock. */
export const lifecycleEntry = (
  device: string,
  before: DeviceLifecycle | undefined,
  after: DeviceLifecycle,
  at: number,
): Append => {
  const isDecided =
    compareTimes(after.decidedAt, before?.decidedAt ?? zeroTime) !== 0 ||
    after.decidedBy !== (before?.decidedBy ?? '');
  return journalEntry(
    'audit',
    'device_lifecycle',
    {
      device,
      from: before?.state ?? null,
      to: after.state,
      reason: after.reason,
      actor: after.actor,
      decided_at: isDecided ? after.decidedAt : null,
    },
    at,
  );
};
