import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { encodePoint, type TelemetryPoint } from '../telemetry/point.js';
import { createDispatch, type DispatchDeps } from './dispatch.js';

/** What telemetry is given; nobody else is asked for it. */
const telemetryOf = () => {
  const recorded: TelemetryPoint[] = [];
  const clock = new ManualClock();
  const deps: Pick<DispatchDeps, 'telemetry' | 'clock'> & { devices: { seen(): void } } = {
    telemetry: { record: async (points) => void recorded.push(...points) },
    clock,
    devices: { seen: () => undefined },
  };
  const dispatch = createDispatch(deps as unknown as DispatchDeps);
  const send = (...points: { value: number; ts?: number }[]) =>
    dispatch({ type: 'telemetry', device: 'd', series: 's', points });
  return { clock, recorded, send };
};

t.test('a point without a time gets the one of its arrival', async (t) => {
  const { clock, recorded, send } = telemetryOf();
  await send({ value: 1 }, { value: 2, ts: 5 });
  t.same(recorded, [
    { device: 'd', series: 's', value: 1, ts: clock.now() },
    { device: 'd', series: 's', value: 2, ts: 5 },
  ]);
});

t.test(
  'while nobody knows the time it gets a stamp, and no two of a series the same',
  async (t) => {
    const { clock, recorded, send } = telemetryOf();
    clock.trusted = false;
    clock.advance(7_000);
    await send({ value: 1 }, { value: 2 }, { value: 3, ts: 5 });
    t.match(recorded, [
      { value: 1, ts: clock.now(), stamp: { boot: 'manual', mono: 7_000 } },
      { value: 2, ts: clock.now() + 1, stamp: { boot: 'manual', mono: 7_001 } },
      { value: 3, ts: 5, stamp: undefined },
    ]);
    clock.set(0);
    clock.advance(10);
    await send({ value: 4 });
    t.match(recorded[3], { stamp: { mono: 7_010 } }, 'whatever the clock is set to');
    for (const point of recorded)
      t.equal(encodePoint(point), canonicalJson(withoutUndefined(point)));
  },
);

const withoutUndefined = (point: TelemetryPoint): unknown => JSON.parse(JSON.stringify(point));
