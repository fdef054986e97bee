import t from 'tap';
import { storeUnderTest } from '../testing/store-under-test.js';
import { storedCampaign } from '../testing/stored-campaign.js';
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
      .values(storedCampaign({ campaign_id: 'c1' }))
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
