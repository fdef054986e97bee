import t from 'tap';
import { LatestValues } from './latest-values.js';

const point = (device: string, series: string) => ({ device, series, ts: 1, value: series });

t.test('keeps within its bytes by giving up the device that was silent longest', async (t) => {
  const values = new LatestValues({ maxBytes: 300 });
  values.set(point('a', 's'), 100);
  values.set(point('b', 's'), 100);
  values.set(point('a', 's'), 100);
  values.set(point('c', 's'), 100);
  t.equal(values.bytes, 300);
  values.set(point('d', 's'), 100);
  t.equal(values.bytes, 300);
  t.same(values.of('b'), []);
  t.equal(values.of('a').length, 1);
});

t.test('one device cannot push the others out', async (t) => {
  const values = new LatestValues({ maxSeriesPerDevice: 2 });
  for (const series of ['x', 'y', 'z']) values.set(point('a', series), 10);
  t.same(
    values.of('a').map(({ series }) => series),
    ['y', 'z'],
  );
});
