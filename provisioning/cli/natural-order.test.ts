import t from 'tap';
import { inNaturalOrder } from './natural-order.js';

t.test('counts as people do, whatever stands around the numbers', async (t) => {
  const names = ['b/sim-1', 'a/sim-10', 'a/sim-2', 'a/pump', 'a/sim-9x1', 'a/sim-9x10'];
  t.same(
    inNaturalOrder(names, (name) => name),
    ['a/pump', 'a/sim-2', 'a/sim-9x1', 'a/sim-9x10', 'a/sim-10', 'b/sim-1'],
  );
});
