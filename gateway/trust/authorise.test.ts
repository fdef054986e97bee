import fc from 'fast-check';
import t from 'tap';
import { authorise, type TopicVerb } from './authorise.js';
import type { Identity } from './identity.js';

const device: Identity = {
  kind: 'device',
  site: 's',
  device: 'pump-1',
  serial: '01',
  issuerSerial: '02',
};
const service: Identity = {
  kind: 'service',
  name: 'meter',
  publish: ['dt/+/commands/#'],
  subscribe: ['dt/#', '+/x'],
};
const reasonOf = (identity: Identity, verb: TopicVerb, topic: string): string | true => {
  const decision = authorise(identity, verb, topic);
  return decision.allowed || decision.reason;
};

t.test(
  'a device may do with its own topics what it likes, and nothing with any other',
  async (t) => {
    for (const verb of ['publish', 'will', 'receive'] as const) {
      t.equal(reasonOf(device, verb, 'dt/pump-1/telemetry/flow'), true);
      t.equal(reasonOf(device, verb, 'devices/pump-1/heartbeat'), true);
      t.equal(reasonOf(device, verb, 'dt/pump-2/telemetry/flow'), 'TOPIC_OF_ANOTHER');
      t.equal(reasonOf(device, verb, 'dt/pump-1'), 'TOPIC_OF_ANOTHER');
      t.equal(reasonOf(device, verb, 'dt/pump-1/+'), 'TOPIC_MALFORMED');
      t.equal(reasonOf(device, verb, 'dt/pump-1/a\0b'), 'TOPIC_MALFORMED');
      t.equal(reasonOf(device, verb, '$SYS/broker/uptime'), 'TOPIC_RESERVED');
      t.equal(reasonOf(device, verb, '$aws/things/pump-1/shadow/get'), true);
      t.equal(reasonOf(device, verb, '$aws/things/pump-2/shadow/get'), 'TOPIC_OF_ANOTHER');
      t.equal(reasonOf(device, verb, ''), 'TOPIC_MALFORMED');
    }
  },
);

t.test('a device subscribes beneath its own id alone', async (t) => {
  t.equal(reasonOf(device, 'subscribe', 'dt/pump-1/#'), true);
  t.equal(reasonOf(device, 'subscribe', 'dt/pump-1/commands/+'), true);
  const refused = [
    '#',
    '+/+/#',
    'dt/+/#',
    'dt/pump-2/#',
    '/dt/pump-1/#',
    'dt/pump-1#',
    '$share/g/dt/pump-1/#',
    '$SYS/#',
  ];
  for (const filter of refused) t.not(reasonOf(device, 'subscribe', filter), true, filter);
});

t.test('a service has what its policy grants and nothing beneath $', async (t) => {
  t.equal(reasonOf(service, 'publish', 'dt/pump-1/commands/c'), true);
  t.equal(reasonOf(service, 'publish', 'dt/pump-1/telemetry/t'), 'TOPIC_OUTSIDE_POLICY');
  t.equal(reasonOf(service, 'subscribe', 'dt/pump-1/#'), true);
  t.equal(reasonOf(service, 'subscribe', '#'), 'TOPIC_OUTSIDE_POLICY');
  t.equal(reasonOf(service, 'subscribe', 'a/x'), true);
  t.equal(reasonOf(service, 'subscribe', 'a/#'), 'TOPIC_OUTSIDE_POLICY');
  t.equal(reasonOf(service, 'subscribe', 'dt/a#'), 'TOPIC_MALFORMED');
  const every: Identity = { ...service, publish: ['#'], subscribe: ['#'] };
  for (const verb of ['publish', 'subscribe', 'receive'] as const) {
    t.equal(reasonOf(every, verb, '$SYS/x'), 'TOPIC_RESERVED');
    t.equal(reasonOf(every, verb, 'x'), true);
  }
});

t.test('a filter is granted only when every topic it matches is', async (t) => {
  const word = fc.constantFrom('a', 'b', '', '$x');
  const topic = fc.array(word, { minLength: 1, maxLength: 4 });
  const filter = fc
    .tuple(
      fc.array(fc.constantFrom('a', 'b', '', '+'), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
    )
    .map(([words, isOpen]) => (isOpen ? [...words, '#'] : words));
  const matches = (filter: string[], topic: string[]): boolean => {
    if (topic[0]?.startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false;
    for (const [at, word] of filter.entries()) {
      if (word === '#') return true;
      if (topic[at] === undefined || (word !== '+' && word !== topic[at])) return false;
    }
    return topic.length === filter.length;
  };
  fc.assert(
    fc.property(filter, filter, topic, (asked, granted, topic) => {
      const policy: Identity = { ...service, subscribe: [granted.join('/')] };
      if (!authorise(policy, 'subscribe', asked.join('/')).allowed) return;
      if (matches(asked, topic) && !topic[0]?.startsWith('$'))
        t.ok(matches(granted, topic), `${asked} in ${granted}: ${topic}`);
    }),
    { numRuns: 2_000 },
  );
});
