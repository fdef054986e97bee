/** The local API for the clock: what it is worth, and saying what time it is where nothing else does. */
import * as v from 'valibot';
import type { PeopleClock } from '../../trust/site-clock.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route } from './routes.js';

export interface ClockRoutesDeps {
  readonly clock: PeopleClock;
}

const clockSetting = v.strictObject({
  /** Epoch ms; null says that the machine's clock is right. */
  time: v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(8.64e15))),
});

export const clockRoutes = ({ clock }: ClockRoutesDeps): readonly Route[] => {
  const path = '/api/v1/clock';
  return [
    { method: 'GET', path, right: 'site.read', handle: async () => clockView(clock) },
    {
      method: 'POST',
      path,
      right: 'clock.set',
      handle: async ({ body, who }) => {
        await clock.set(parseBody(clockSetting, body).time, actorOf(who));
        return clockView(clock);
      },
    },
  ];
};

const clockView = (clock: PeopleClock): object => {
  const { now, trusted, source, doubt, offset, floor, errorMs, boot } = clock.status();
  return { now, trusted, source, doubt, offset, floor, error_ms: errorMs, boot };
};
