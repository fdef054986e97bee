/** The local API by which a person in front of a board has it flashed again, with the WAN or without. */
import * as v from 'valibot';
import type { LineFlashing } from '../serial/flash/line-flashing.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route } from './routes.js';

export interface FlashRoutesDeps {
  readonly flashing: Pick<LineFlashing, 'flash'>;
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const wish = v.strictObject({
  /** Absent: what runs, or ran last. */
  version: v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(128))),
});

export const flashRoutes = ({ flashing, fence }: FlashRoutesDeps): readonly Route[] => [
  {
    method: 'POST',
    path: '/api/v1/devices/:device/flash',
    right: 'device.flash',
    handle: async ({ params, query, who }) => {
      fence.check();
      const device = params.get('device') ?? '';
      // In the address, so that the note of who asked says for what.
      const { version } = parseBody(wish, Object.fromEntries(query));
      const image = await flashing.flash(device, { version, by: actorOf(who) });
      return { device, model: image.model, version: image.version, sha256: image.sha256 };
    },
  },
];
