import t from 'tap';
import { WriteQueue } from './write-queue.js';

/** A port that takes what it is given when it is told to. */
const begin = (patienceMs = 5_000) => {
  const taken: string[] = [];
  const failed: string[] = [];
  const waiting: (() => void)[] = [];
  const queue = new WriteQueue({
    take: (bytes) =>
      new Promise((resolve) => {
        taken.push(Buffer.from(bytes).toString());
        waiting.push(resolve);
      }),
    fail: (reason) => {
      failed.push(reason);
      queue.end(reason);
    },
    wireMs: () => 0,
    patienceMs,
  });
  return { queue, taken, failed, take: () => waiting.shift()?.() };
};

t.test('keeps the order, and takes together what gathered', async (t) => {
  const { queue, taken, take } = begin();
  const first = queue.write(Buffer.from('a'));
  const others = ['b', 'c', 'd'].map((text) => queue.write(Buffer.from(text)));
  t.same(taken, ['a']);
  take();
  await first;
  await Promise.resolve();
  t.same(taken, ['a', 'bcd']);
  take();
  await Promise.all(others);
  await queue.empty();
});

t.test('takes no more than it has room for', async (t) => {
  const { queue, take } = begin();
  const most = queue.write(Buffer.alloc(65_536));
  await t.rejects(queue.write(Buffer.from('x')), { code: 'SERIAL_LINE_BUSY' });
  take();
  await most;
  await queue.empty();
  const again = queue.write(Buffer.from('x'));
  take();
  await again;
});

t.test('forgets what its writer does not wait for any more', async (t) => {
  const { queue, taken, take } = begin();
  const first = queue.write(Buffer.from('a'));
  const impatient = new AbortController();
  const second = queue.write(Buffer.from('b'), impatient.signal);
  const third = queue.write(Buffer.from('c'));
  impatient.abort(new Error('enough'));
  await t.rejects(second, { message: 'enough' });
  take();
  await first;
  await Promise.resolve();
  t.same(taken, ['a', 'c']);
  take();
  await third;
  await t.rejects(queue.write(Buffer.from('d'), impatient.signal), { message: 'enough' });
});

t.test('ends with its port, and everything that waits with it', async (t) => {
  const { queue } = begin();
  const writes = ['a', 'b'].map((text) => queue.write(Buffer.from(text)));
  const idle = queue.empty();
  queue.end('unplugged');
  queue.end('again');
  for (const write of [...writes, idle]) {
    await t.rejects(write, { code: 'SERIAL_LINE_DOWN', message: /unplugged/ });
  }
  await t.rejects(queue.write(Buffer.from('c')), { code: 'SERIAL_LINE_DOWN' });
});

t.test('a port that takes nothing in time is none', async (t) => {
  const { queue, failed } = begin(10);
  await t.rejects(queue.write(Buffer.from('a')), {
    code: 'SERIAL_LINE_DOWN',
    message: /took no bytes in time/,
  });
  t.equal(failed.length, 1);
});
