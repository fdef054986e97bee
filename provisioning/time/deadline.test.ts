import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t from 'tap';
import { withDeadline } from './deadline.js';

const never = new Promise<never>(() => undefined);

t.test('gives what the work gives', async (t) => {
  t.equal(await withDeadline(Promise.resolve(7), 1_000), 7);
  await t.rejects(
    withDeadline(() => Promise.reject(new Error('no')), 1_000),
    { message: 'no' },
  );
});

t.test('rejects by name when it takes too long, and tells the work', async (t) => {
  let told: unknown;
  const work = (signal: AbortSignal) => {
    signal.addEventListener('abort', () => {
      told = signal.reason;
    });
    return never;
  };
  const error = await withDeadline(work, 1, { doing: 'waiting for nothing' }).catch((e) => e);
  t.ok(isHoldfastError(error, 'DEADLINE_EXCEEDED'));
  t.match(error.message, /^waiting for nothing took longer than 1 ms/);
  t.equal(told, error);
});

t.test('ends with the reason of a signal', async (t) => {
  const controller = new AbortController();
  const waiting = withDeadline(never, 60_000, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.rejects(waiting, { message: 'enough' });
  let isStarted = false;
  const start = async () => {
    isStarted = true;
  };
  await t.rejects(withDeadline(start, 1_000, { signal: controller.signal }), { message: 'enough' });
  t.equal(isStarted, false, 'work is not begun after an abort');
});
