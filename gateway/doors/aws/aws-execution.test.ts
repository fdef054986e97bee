import { executionStatuses } from '@holdfast/protos/link/execution-status';
import t from 'tap';
import { viewOf } from '../../updates/device-executions.js';
import type { Execution } from '../../updates/execution-state.js';
import { newExecution } from '../../updates/execution-state.js';
import { campaignBody } from '../../updates/updates-fixture.js';
import { pendingOf, statusOf } from './aws-execution.js';

const viewWith = (id: string, changes: Partial<Execution>) =>
  viewOf({ id, body: campaignBody(), images: [] }, 'pi-1', {
    ...newExecution('2', 'pi@2'),
    ...{ offers: 1, door: 'aws' },
    ...changes,
  });

t.test(
  'every status of an execution has one of AWS IoT, by what the device said last',
  async (t) => {
    const timedOut = 'in_progress took too long';
    // Nothing said; nothing said, and its time ran out; begun, and its time ran out; failed; rejected.
    const table: Record<string, string> = {
      queued: 'REMOVED TIMED_OUT TIMED_OUT FAILED REJECTED',
      offered: 'QUEUED QUEUED QUEUED QUEUED QUEUED',
      downloading: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      verifying: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      installing: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      in_progress: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      rebooting: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      confirming: 'IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS IN_PROGRESS',
      succeeded: 'SUCCEEDED SUCCEEDED SUCCEEDED SUCCEEDED SUCCEEDED',
      unproven: 'SUCCEEDED SUCCEEDED SUCCEEDED SUCCEEDED SUCCEEDED',
      failed: 'FAILED TIMED_OUT TIMED_OUT FAILED REJECTED',
      rolled_back: 'FAILED FAILED FAILED FAILED FAILED',
      cancelling: 'CANCELED CANCELED CANCELED CANCELED CANCELED',
      cancelled: 'CANCELED CANCELED CANCELED CANCELED CANCELED',
      superseded: 'REMOVED REMOVED REMOVED REMOVED REMOVED',
    };
    t.same(Object.keys(table).sort(), [...executionStatuses].sort());
    for (const status of executionStatuses) {
      const found = (
        [
          [null, null],
          [null, timedOut],
          ['IN_PROGRESS', timedOut],
          ['FAILED', 'no'],
          ['REJECTED', 'no'],
        ] as const
      ).map(([said, error]) =>
        statusOf({
          view: viewWith('j', { status, error }),
          word: { said, versionNumber: 1, statusDetails: {} },
        }),
      );
      t.equal(found.join(' '), table[status], status);
    }
  },
);

t.test('what the device says it has done is over for it, and waits for its proof', async (t) => {
  const view = viewWith('j', { status: 'confirming', claimed: true });
  const word = { said: 'SUCCEEDED', versionNumber: 3, statusDetails: {} } as const;
  t.equal(statusOf({ view, word }), 'SUCCEEDED');
  t.same(pendingOf([view]), []);
});

t.test(
  'what is begun comes first, then what waits, as it came; others’ doors are theirs',
  async (t) => {
    const views = [
      viewWith('a', { status: 'offered' }),
      viewWith('b', { status: 'in_progress' }),
      viewWith('c', { status: 'offered', door: 'native' }),
      viewWith('d', { status: 'offered' }),
      viewWith('e', { status: 'cancelling' }),
      viewWith('f', { status: 'confirming' }),
    ];
    t.same(
      pendingOf(views).map(({ campaign }) => campaign.id),
      ['b', 'f', 'a', 'd'],
    );
  },
);
