import t from 'tap';
import { storeUnderTest } from '../testing/store-under-test.js';
import { agingAudit, recordAudit } from './audit-log.js';

const numbers = async (store: Awaited<ReturnType<typeof storeUnderTest>>) =>
  (
    await store.engine.read.selectFrom('audit_entries').select('number').orderBy('number').execute()
  ).map(({ number }) => number);

t.test('numbers entries as they come, also after the oldest are forgotten', async (t) => {
  const store = await storeUnderTest(t);
  const record = (now: number) =>
    store.engine.write((tx) =>
      recordAudit(tx, now, { action: 'campaign.created', actor: 'cloud:admin' }),
    );
  for (const now of [1, 2, 3]) await record(now);
  t.same(await numbers(store), [1, 2, 3]);
  const aging = agingAudit(1);
  const repeat = async (forget: Parameters<Parameters<typeof aging.forget>[1]>[0]) => {
    let all = 0;
    for (let some = 1; some > 0; all += some) {
      some = await store.engine.write((tx) => forget(tx, 1));
    }
    return all;
  };
  t.equal(await aging.forget(2, repeat), 2);
  t.same(await numbers(store), [3]);
  t.equal(await aging.forget(9, repeat), 0, 'the newest stays');
  await record(10);
  t.same(await numbers(store), [3, 4]);
});

t.test('leaves no entry of what did not happen', async (t) => {
  const store = await storeUnderTest(t);
  await t.rejects(
    store.engine.write(async (tx) => {
      await recordAudit(tx, 1, { action: 'campaign.started', actor: 'cloud:admin' });
      throw new Error('the change failed');
    }),
    { message: 'the change failed' },
  );
  t.same(await numbers(store), []);
});
