import t from 'tap';
import {
  compareDecisions,
  isServed,
  type LifecycleEvent,
  type LifecycleState,
  lifecycleEvents,
  lifecycleStates,
  nextLifecycle,
} from './lifecycle.js';

/** Every state × event; '-' is not allowed. Columns: enrolled, heard, silent, enable, disable, retire. */
const table: Readonly<Record<LifecycleState, string>> = {
  provisioning: 'provisioning active provisioning provisioning disabled retired',
  active: 'provisioning active inactive active disabled retired',
  inactive: 'provisioning active inactive inactive disabled retired',
  disabled: '- - disabled active disabled retired',
  retired: 'provisioning - retired - - retired',
};

t.test('every state × event leads where the table says, or nowhere', async (t) => {
  const events: readonly LifecycleEvent[] = lifecycleEvents;
  t.same(events, ['enrolled', 'heard', 'silent', 'enable', 'disable', 'retire']);
  for (const state of lifecycleStates) {
    const row = table[state].split(' ');
    for (const [i, event] of events.entries()) {
      t.equal(nextLifecycle(state, event) ?? '-', row[i], `${state} × ${event}`);
    }
  }
});

t.test(
  'a device out of service is served nowhere, and no event but a person brings it back',
  async (t) => {
    t.same(lifecycleStates.filter(isServed), ['provisioning', 'active', 'inactive']);
    for (const state of ['disabled', 'retired'] as const) {
      t.equal(nextLifecycle(state, 'heard'), undefined);
      const after = nextLifecycle(state, 'silent');
      t.equal(after, state, 'silence changes nothing');
    }
  },
);

t.test('of two decisions one counts, whoever compares them', async (t) => {
  const at = (wall: number, counter: number, actor: string) => ({
    decided_at: { wall, counter },
    actor,
  });
  t.ok(compareDecisions(at(2, 0, 'a'), at(1, 9, 'b')) > 0);
  t.ok(compareDecisions(at(1, 1, 'a'), at(1, 0, 'b')) > 0);
  t.ok(compareDecisions(at(1, 1, 'site:operator'), at(1, 1, 'cloud:admin')) > 0);
  t.ok(compareDecisions(at(1, 1, 'cloud:admin'), at(1, 1, 'site:operator')) < 0);
  t.equal(compareDecisions(at(1, 1, 'a'), at(1, 1, 'a')), 0);
});
