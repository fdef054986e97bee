import t, { type Test } from 'tap';
import { ensureDevice } from '../devices/device-records.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { storedCampaign, storedExecution } from '../testing/stored-campaign.js';
import { Retention } from './retention.js';

const dayMs = 86_400_000;

const setUp = async (t: Test) => {
  const clock = { now: 1_000 * dayMs };
  const { engine } = await storeUnderTest(t, { now: () => clock.now });
  const retention = new Retention(
    {
      engine,
      now: () => clock.now,
      schedule: () => ({ stop: async () => undefined }),
      log: { info: () => undefined, error: (data) => t.fail(JSON.stringify(data)) },
    },
    { telemetryDays: 10, commandDays: 20, executionDays: 30, rowsAtOnce: 2 },
  );
  await engine.write((tx) => ensureDevice(tx, 'a', 'd'));
  return { clock, engine, retention };
};

t.test(
  'forgets telemetry by when it arrived, whatever its device takes for the time',
  async (t) => {
    const { clock, engine, retention } = await setUp(t);
    const arrive = (from: number, to: number) =>
      engine.write(async ({ db }) => {
        for (let position = from; position <= to; position += 1) {
          await db
            .insertInto('telemetry')
            .values({
              site_id: 'a',
              device_id: 'd',
              position,
              point_key: `t${position}`,
              series: 's',
              // One from 1970, one from far ahead, in turn.
              ts: position % 2 === 0 ? 1 : 1e14,
              value: '1',
              boot: null,
              seq: null,
            })
            .execute();
        }
        await db
          .insertInto('telemetry_positions')
          .values({ site_id: 'a', last_position: to })
          .onConflict((c) => c.column('site_id').doUpdateSet({ last_position: to }))
          .execute();
      });
    const left = async () =>
      (await engine.read.selectFrom('telemetry').select('position').execute()).map(
        ({ position }) => position,
      );
    await arrive(1, 5);
    await retention.run();
    clock.now += 5 * dayMs;
    await arrive(6, 8);
    await retention.run();
    t.equal((await left()).length, 8);
    clock.now += 5 * dayMs;
    await retention.run();
    t.same(await left(), [6, 7, 8]);
    clock.now += 5 * dayMs;
    await retention.run();
    t.same(await left(), []);
    const marks = await engine.read.selectFrom('telemetry_marks').selectAll().execute();
    t.ok(marks.length <= 3, 'the marks are bounded too');
  },
);

t.test('forgets commands that are over, and what ended campaigns did', async (t) => {
  const { clock, engine, retention } = await setUp(t);
  const at = clock.now;
  await engine.write(async ({ db }) => {
    for (const [id, expires_at] of [
      ['c1', at + 1],
      ['c2', at + 1],
      ['c3', at + 1],
      ['open', at + 60 * dayMs],
    ] as const) {
      await db
        .insertInto('commands')
        .values({
          ...{ site_id: 'a', device_id: 'd', command_id: id, type: 'x', payload: '{}' },
          ...{ state: 'pending', response: null, error: null, responded_at: null },
          ...{ created_at: at, expires_at },
        })
        .execute();
    }
    for (const [campaign_id, ended_at] of [
      ['over', at],
      ['runs', null],
    ] as const) {
      await db
        .insertInto('campaigns')
        .values(
          storedCampaign({
            ...{ campaign_id, created_at: at, ended_at, total: 3, succeeded: 3 },
            state: ended_at === null ? 'running' : 'completed',
          }),
        )
        .execute();
      for (const device_id of ['d1', 'd2', 'd3']) {
        await db
          .insertInto('executions')
          .values(storedExecution({ campaign_id, device_id, updated_at: at }))
          .execute();
      }
    }
  });
  const left = async () => ({
    commands: (await engine.read.selectFrom('commands').select('command_id').execute()).map(
      ({ command_id }) => command_id,
    ),
    executions: (await engine.read.selectFrom('executions').select('campaign_id').execute()).length,
  });
  await retention.run();
  t.match(await left(), { commands: { length: 4 }, executions: 6 });
  clock.now += 21 * dayMs;
  await retention.run();
  t.same(await left(), { commands: ['open'], executions: 6 });
  clock.now += 10 * dayMs;
  await retention.run();
  t.same(await left(), { commands: ['open'], executions: 3 });
  const { total } = await engine.read
    .selectFrom('campaigns')
    .select('total')
    .where('campaign_id', '=', 'over')
    .executeTakeFirstOrThrow();
  t.equal(total, 3, 'what it came to stays');
});
