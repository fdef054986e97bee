import t from 'tap';
import { storeUnderTest } from '../testing/store-under-test.js';
import { watchCampaign } from './watch-campaign.js';

t.test('listens while somebody watches, and no longer', async (t) => {
  const { engine, signals } = await storeUnderTest(t);
  let listeners = 0;
  const counting = {
    publish: signals.publish.bind(signals),
    subscribe: (...args: Parameters<typeof signals.subscribe>) => {
      listeners += 1;
      const stop = signals.subscribe(...args);
      return () => {
        listeners -= 1;
        stop();
      };
    },
  } as unknown as typeof signals;
  await engine.write(({ db }) =>
    db
      .insertInto('campaigns')
      .values({
        campaign_id: 'c1',
        display_name: '',
        firmware_id: 'm@2',
        target: '{}',
        policy: '{}',
        target_sites: '[]',
        state: 'running',
        version: 1,
        created_at: 1,
        started_at: 1,
        ended_at: null,
        cancel_reason: '',
        total: 0,
        queued: 0,
        in_progress: 0,
        succeeded: 0,
        unproven: 0,
        failed: 0,
        rolled_back: 0,
        cancelled: 0,
        superseded: 0,
      })
      .execute(),
  );
  const add = () =>
    engine.write(async ({ db, afterCommit }) => {
      await db
        .updateTable('campaigns')
        .set((eb) => ({ total: eb('total', '+', 1) }))
        .execute();
      afterCommit(() => signals.publish('campaign:c1'));
    });
  const gone = new AbortController();
  const watched = watchCampaign({ engine, signals: counting }, 'c1', gone.signal);
  t.equal((await watched.next()).value?.total, 0);
  t.equal(listeners, 1);
  // While the reader is busy; it is told once, of the last.
  await add();
  await add();
  t.equal((await watched.next()).value?.total, 2);
  const waiting = watched.next();
  gone.abort();
  t.same(await waiting, { done: true, value: undefined });
  t.equal(listeners, 0, 'one that went away while nothing happened');

  const left = watchCampaign({ engine, signals: counting }, 'c1', new AbortController().signal);
  await left.next();
  await left.return(undefined);
  t.equal(listeners, 0);
  await t.rejects(
    watchCampaign({ engine, signals: counting }, 'none', new AbortController().signal).next(),
    { code: 'RESOURCE_NOT_FOUND' },
  );
  t.equal(listeners, 0);
});
