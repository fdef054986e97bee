import t from 'tap';
import { chainAfter, chainStart } from './journal-chain.js';

const entries = [
  { seq: 1, kind: 'point', body: '{"a":1}' },
  { seq: 2, kind: 'point', body: '{"a":2}' },
];

t.test('is the same however the entries are cut into batches', async (t) => {
  const whole = chainAfter(chainStart, 'telemetry', entries);
  const first = chainAfter(chainStart, 'telemetry', entries.slice(0, 1));
  t.same(chainAfter(first, 'telemetry', entries.slice(1)), whole);
  t.equal(
    Buffer.from(whole).toString('hex'),
    'c6b991f9586bb933768aa839f844d7942b550954ece32541d1eb18ed01764d90',
    'a fixed value: both ends, of any version, must get it',
  );
});

t.test('differs for another lane, number, kind, body or order', async (t) => {
  const one = { seq: 1, kind: 'point', body: '{"a":1}' };
  const two = { seq: 2, kind: 'point', body: '{"a":2}' };
  const chains = [
    chainAfter(chainStart, 'telemetry', [one]),
    chainAfter(chainStart, 'state', [one]),
    chainAfter(chainStart, 'telemetry', [{ ...one, seq: 2 }]),
    chainAfter(chainStart, 'telemetry', [{ ...one, kind: 'dropped' }]),
    chainAfter(chainStart, 'telemetry', [{ ...one, body: '{"a":2}' }]),
    chainAfter(chainStart, 'telemetry', [one, two]),
    chainAfter(chainStart, 'telemetry', [two, one]),
  ];
  t.equal(new Set(chains.map((chain) => Buffer.from(chain).toString('hex'))).size, chains.length);
});
