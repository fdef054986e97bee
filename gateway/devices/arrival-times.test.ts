import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import type { TelemetryPoint } from '../telemetry/point.js';
import { ArrivalTimes } from './arrival-times.js';
import { createDispatch, type DispatchDeps } from './dispatch.js';

const nothing = async (): Promise<void> => undefined;
const refuse = async (): Promise<never> => {
  throw new Error('not asked for');
};

/** Takes telemetry and nothing else. */
const telemetryOnly = () => {
  const recorded: TelemetryPoint[] = [];
  const deps: DispatchDeps = {
    devices: {
      connected: () => undefined,
      disconnected: () => undefined,
      seen: () => undefined,
      learned: () => undefined,
      vouch: nothing,
    },
    telemetry: {
      record: async (points) => {
        recorded.push(...points);
      },
    },
    shadows: { request: refuse },
    updates: { asked: refuse, updated: refuse, reported: refuse, seen: refuse },
    commands: { answered: refuse },
    clock: new ManualClock(),
  };
  return { recorded, dispatch: createDispatch(deps) };
};

t.test('points that come in one millisecond and without a time are told apart', async (t) => {
  const { recorded, dispatch } = telemetryOnly();
  const points = [{ value: 1 }, { value: 2 }, { value: 2 }];
  await dispatch({ type: 'telemetry', device: 'd', series: 's', points });
  await dispatch({ type: 'telemetry', device: 'd', series: 's', points: [{ value: 3 }] });
  await dispatch({ type: 'telemetry', device: 'd', series: 's', points: [{ value: 4, ts: 5 }] });
  const times = recorded.map(({ ts }) => ts);
  t.equal(new Set(times).size, 5, 'the control plane would count one of the same time once');
  t.equal(times.at(-1), 5, 'a time that the device gives stays');
});

t.test('a time stays near the clock, whichever way that jumps', async (t) => {
  const times = new ArrivalTimes({ maxSeries: 2 });
  t.equal(times.next('d', 's', 100_000), 100_000);
  t.equal(times.next('d', 's', 100_000), 100_001);
  t.equal(times.next('d', 'other', 100_000), 100_000, 'each series by itself');
  t.equal(times.next('d', 's', 99_999), 100_002);
  t.equal(times.next('d', 's', 50_000), 50_000, 'the clock was set back');
  t.equal(times.next('d', 's', 200_000), 200_000);
});
