import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { ElapsedTime } from './elapsed-time.js';

t.test('runs on whatever becomes of wall time', async (t) => {
  const clock = new ManualClock();
  const time = new ElapsedTime(clock);
  clock.advance(1_000);
  clock.set(0);
  t.equal(time.now(), 1_000);
  clock.set(Date.UTC(2090, 0, 1));
  t.equal(time.now(), 1_000);
});

t.test('a stop counts when both ends of it are known', async (t) => {
  const clock = new ManualClock();
  const before = new ElapsedTime(clock);
  clock.advance(1_000);
  const record = before.record();
  clock.advance(5_000);
  t.equal(new ElapsedTime(clock, record).now(), 6_000);
});

t.test('a stop counts only when the time is known, and then at once', async (t) => {
  const clock = new ManualClock();
  const record = new ElapsedTime(clock).record();
  clock.advance(5_000);
  const known = clock.now();
  clock.trusted = false;
  clock.set(0);
  const time = new ElapsedTime(clock, record);
  clock.advance(1_000);
  t.equal(time.now(), 1_000);
  const unknown = time.record();
  clock.trusted = true;
  clock.set(known + 1_000);
  t.equal(time.now(), 6_000);
  t.equal(new ElapsedTime(clock, unknown).now(), 6_000, 'over a run that never knew the time, too');
});

t.test('time that runs back takes nothing away', async (t) => {
  const clock = new ManualClock();
  const record = new ElapsedTime(clock).record();
  clock.set(clock.now() - 60_000);
  t.equal(new ElapsedTime(clock, record).now(), 0);
});
