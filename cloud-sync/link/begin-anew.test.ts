import t from 'tap';
import { storeUnderTest } from '../testing/store-under-test.js';
import { beginAnew } from './begin-anew.js';
import type { NewOrder } from './orders.js';

const command = (id: string): NewOrder => ({
  kind: 'command',
  body: { device: 'd', command: id, type: 't', payload: null, expires_at: 9 },
});

t.test('a restored control plane skips no order whose number the site has seen', async (t) => {
  const { engine, orders, plans, owed } = await storeUnderTest(t);
  orders.onResupply((tx, site) => orders.append(tx, site, [command('whole state')]));
  const give = (id: string) => engine.write((tx) => orders.append(tx, 'a', [command(id)]));
  const { log } = await engine.write((tx) => orders.lane(tx, 'a'));
  // The site has two orders that the backup lacks.
  const atSite = { log, seq: 2 };
  await beginAnew({ engine, orders, plans });
  await give('1');
  await give('2');
  await give('3');
  const met = await engine.write((tx) => orders.meet(tx, 'a', atSite));
  t.not(met.log, log);
  const commands = new Set((await owed()).map(({ body }) => body.command));
  for (const id of ['1', '2', '3', 'whole state']) t.ok(commands.has(id), id);
});

t.test('a restored control plane raises the generation of every plan', async (t) => {
  const { engine, orders, plans } = await storeUnderTest(t);
  await engine.write((tx) => plans.request(tx, ['a']));
  await plans.publish('a');
  const generation = async () =>
    (await engine.read.selectFrom('plans').select('generation').executeTakeFirstOrThrow())
      .generation;
  const before = await generation();
  t.equal(await beginAnew({ engine, orders, plans }), 1);
  t.ok((await generation()) > before);
});
