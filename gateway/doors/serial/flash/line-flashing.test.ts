import t from 'tap';
import { executionOf, flashedSite, job, pump } from './test-flashed-site.js';

t.test('flashes a microcontroller, and takes its next hello for the proof', async (t) => {
  const { board, site } = await flashedSite(t);
  const statuses: string[] = [];
  const done = await site.until(async () => {
    const found = await executionOf(site);
    if (found !== undefined && found.status !== statuses.at(-1)) statuses.push(found.status);
    return found?.status === 'succeeded' ? found : undefined;
  });
  t.match(done, { door: 'serial', fromVersion: '1.0.0', attempt: 1, error: null });
  t.equal(board.holds, '2.0.0');
  t.equal(board.resets, 1);
  t.equal(site.devices.get(pump)?.firmwareVersion, '2.0.0');
  const status = await site.until(() => {
    const found = site.flashing.status(pump);
    return found?.phase === 'idle' ? found : undefined;
  });
  t.match(status, { running: '2.0.0', trouble: null, by: null });
  t.notOk(statuses.includes('failed'));
  t.equal(site.updates.executionsOf(pump).length, 0, job);
});
