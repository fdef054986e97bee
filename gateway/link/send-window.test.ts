import t from 'tap';
import { SendWindow } from './send-window.js';

t.test('has never more under way than the window', async (t) => {
  const window = new SendWindow({ windowBytes: 100_000 });
  window.sent('state', 1, window.room('state') - 30_000, 0);
  t.equal(window.room('state'), 30_000);
  window.sent('audit', 1, 30_000, 0);
  t.equal(window.room('state'), 0);
  t.equal(window.room('audit'), 0);
  window.committed('state', 1, 5);
  t.equal(window.bytes, 30_000);
  t.equal(window.room('state'), 70_000);
});

t.test('lets one batch go however small the window is', async (t) => {
  const window = new SendWindow({ windowBytes: 0 });
  t.ok(window.room('state') > 0);
  window.sent('state', 1, 500, 0);
  t.equal(window.room('state'), 0);
  window.committed('state', 1, 1);
  t.ok(window.room('state') > 0);
});

t.test('keeps half of the window free of telemetry', async (t) => {
  const window = new SendWindow({ windowBytes: 100_000 });
  window.sent('telemetry', 1, window.room('telemetry'), 0);
  t.equal(window.bytes, 50_000);
  t.equal(window.room('telemetry'), 0);
  t.equal(window.room('state'), 50_000);
});

t.test('slows telemetry down on a slow line and lets it grow again on a fast one', async (t) => {
  const window = new SendWindow({ windowBytes: 8 << 20 });
  const before = window.telemetryLimit;
  window.sent('telemetry', 1, 1000, 0);
  window.committed('telemetry', 1, 3000);
  t.equal(window.telemetryLimit, before / 2);
  for (let seq = 2; seq < 20; seq += 1) {
    window.sent('telemetry', seq, 1000, 0);
    window.committed('telemetry', seq, 5000);
  }
  t.equal(window.telemetryLimit, 32 * 1024, 'not below its least');
  for (let seq = 20; seq < 200; seq += 1) {
    window.sent('telemetry', seq, 1000, 0);
    window.committed('telemetry', seq, 10);
  }
  t.equal(window.telemetryLimit, 4 << 20, 'not above half of the window');
});

t.test('acknowledges up to a position, and forgets a lane whose log was given up', async (t) => {
  const window = new SendWindow({ windowBytes: 1000 });
  window.sent('state', 5, 100, 0);
  window.sent('state', 9, 100, 0);
  window.sent('state', 12, 100, 0);
  window.committed('state', 9, 1);
  t.equal(window.bytes, 100);
  window.forget('state');
  t.equal(window.bytes, 0);
});
