import { createHash } from 'node:crypto';
import t from 'tap';
import { phaseOf } from './phase-hash.js';

t.test('is what every Holdfast before and after computes', async (t) => {
  const digest = createHash('sha256').update('c-1\0pi-1').digest('hex');
  t.equal(phaseOf('c-1', 'pi-1'), Number.parseInt(digest.slice(0, 12), 16) / 2 ** 48);
  t.equal(phaseOf('c-1', 'pi-1').toFixed(12), '0.748617219513');
});

t.test('spreads devices evenly, and each campaign its own way', async (t) => {
  const devices = Array.from({ length: 10_000 }, (_, n) => `device-${n}`);
  const first = devices.filter((device) => phaseOf('a', device) < 0.1);
  t.ok(first.length > 900 && first.length < 1_100, `${first.length} of 10,000 in 10 %`);
  const again = first.filter((device) => phaseOf('b', device) < 0.1);
  t.ok(again.length > 60 && again.length < 150, `${again.length} of them first once more`);
});
