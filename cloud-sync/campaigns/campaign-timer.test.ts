import { EventEmitter, once } from 'node:events';
import t from 'tap';
import { storeUnderTest } from '../testing/store-under-test.js';
import { storedCampaign } from '../testing/stored-campaign.js';
import { CampaignTimer } from './campaign-timer.js';

t.test('a campaign whose time came while nobody looked starts with the program', async (t) => {
  const clock = { now: 1_000 };
  const store = await storeUnderTest(t, { now: () => clock.now });
  const schedule = (campaign_id: string, scheduled_at: number, target = '{}') =>
    store.engine.write(({ db }) =>
      db
        .insertInto('campaigns')
        .values(
          storedCampaign({
            campaign_id,
            scheduled_at,
            target,
            state: 'scheduled',
            started_at: null,
          }),
        )
        .execute(),
    );
  await schedule('broken', 1_500, 'no target');
  await schedule('due', 2_000);
  await schedule('later', 3_000_000);
  const stateOf = async (id: string) =>
    store.engine.read
      .selectFrom('campaigns')
      .select(['state', 'started_at'])
      .where('campaign_id', '=', id)
      .executeTakeFirst();
  const changes = new EventEmitter();
  for (const id of ['due', 'later'] as const) {
    store.signals.subscribe(`campaign:${id}`, () => changes.emit(id));
  }
  // The program was down when the time came.
  clock.now = 5_000;
  const timer = new CampaignTimer(store);
  t.teardown(() => timer.close());
  const started = once(changes, 'due');
  timer.look();
  await started;
  t.same(await stateOf('due'), { state: 'running', started_at: 2_000 });
  t.match(await stateOf('later'), { state: 'scheduled' });
  clock.now = 4_000_000;
  const next = once(changes, 'later');
  timer.look();
  await next;
  t.match(await stateOf('later'), { state: 'running' });
  await timer.close();
});
