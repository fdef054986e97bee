import t from 'tap';
import {
  continues,
  firstSeqOf,
  isWithoutHole,
  maxBatchBytes,
  packEntries,
  unpackEntries,
} from './journal-batch.js';

const point = (seq: number) => ({ seq, at: 1, kind: 'point', body: { device: 'd' } });
const dropped = (from: number, to: number) => ({
  seq: to,
  at: 1,
  kind: 'dropped',
  body: { from, to, points: 1, reason: 'budget' },
});

t.test('an entry that stands for others accounts for all of them', async (t) => {
  t.equal(firstSeqOf(point(7)), 7);
  t.equal(firstSeqOf(dropped(3, 9)), 3);
  t.equal(firstSeqOf({ ...dropped(3, 9), body: { from: 10 } }), 9, 'a range may not run backwards');
  t.ok(isWithoutHole(1, [point(1), dropped(2, 5), point(6)]));
  t.notOk(isWithoutHole(1, [point(1), point(3)]));
  t.notOk(isWithoutHole(1, [point(1), dropped(3, 5)]));
});

t.test(
  'a batch continues exactly what is committed; an empty log may begin anywhere',
  async (t) => {
    const chain = Buffer.from('aa', 'hex');
    const none = Buffer.alloc(0);
    t.ok(continues({ seq: 4, chain }, { firstSeq: 5, previousChain: chain }));
    t.notOk(continues({ seq: 4, chain }, { firstSeq: 6, previousChain: chain }));
    t.notOk(continues({ seq: 4, chain }, { firstSeq: 5, previousChain: none }));
    t.ok(continues({ seq: 0, chain: none }, { firstSeq: 900, previousChain: none }));
    t.notOk(continues({ seq: 0, chain: none }, { firstSeq: 900, previousChain: chain }));
  },
);

t.test('unpacks what was packed and nothing else', async (t) => {
  const text = JSON.stringify([point(1), point(2)]);
  const packed = await packEntries(text);
  const stated = { uncompressedBytes: Buffer.byteLength(text), firstSeq: 1, lastSeq: 2 };
  t.same(await unpackEntries(packed, stated), [point(1), point(2)]);
  await t.rejects(unpackEntries(packed, { ...stated, lastSeq: 3 }), { code: 'REQUEST_INVALID' });
  await t.rejects(unpackEntries(packed, { ...stated, uncompressedBytes: 10 }), {
    code: 'REQUEST_INVALID',
  });
  await t.rejects(unpackEntries(packed, { ...stated, uncompressedBytes: maxBatchBytes + 1 }), {
    code: 'REQUEST_TOO_LARGE',
  });
  await t.rejects(unpackEntries(await packEntries('{'), { ...stated, uncompressedBytes: 1 }), {
    code: 'REQUEST_INVALID',
  });
  const bomb = await packEntries('0'.repeat(1 << 20));
  await t.rejects(unpackEntries(bomb, { ...stated, uncompressedBytes: 100 }), {
    code: 'REQUEST_INVALID',
  });
});
