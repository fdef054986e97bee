/** The local API for one-time codes that are made on site: one, many, which are open, and one less. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import * as v from 'valibot';
import type { MadeClaim, OpenMadeClaim, SiteClaims } from '../../trust/site-claims.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';

export interface ClaimRoutesDeps {
  readonly claims: Pick<SiteClaims, 'make' | 'open' | 'remove'>;
  /** The code of a secret, which names this gateway. */
  readonly codeOf: (secret: string) => string;
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const defaultLifetimeMs = 86_400_000;

const bound = {
  device_id: v.nullish(v.pipe(v.string(), v.check(isDeviceId, 'Expected a device id'))),
  model: v.nullish(v.pipe(v.string(), v.minLength(1), v.maxLength(128))),
};
const lifetime = {
  lifetime_ms: v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
};
const newClaim = v.object({ ...bound, ...lifetime });
const newClaims = v.object({ claims: v.array(v.object(bound)), ...lifetime });

export const claimRoutes = ({ claims, codeOf, fence }: ClaimRoutesDeps): readonly Route[] => {
  const make = async (
    wanted: readonly v.InferOutput<v.ObjectSchema<typeof bound, undefined>>[],
    lifetimeMs = defaultLifetimeMs,
  ): Promise<object[]> => {
    fence.check();
    const made = await claims.make(
      wanted.map(({ device_id, model }) => ({
        device: device_id ?? null,
        model: model ?? null,
        lifetimeMs,
      })),
    );
    return made.map((claim) => madeRow(claim, codeOf(claim.secret)));
  };

  const postClaim = async ({ body }: RouteRequest): Promise<object> => {
    const { lifetime_ms, ...wanted } = parseBody(newClaim, body);
    const [made] = await make([wanted], lifetime_ms);
    if (made === undefined) throw new HoldfastError('INTERNAL', 'no code was made');
    return made;
  };

  const postClaims = async ({ body }: RouteRequest): Promise<object> => {
    const { lifetime_ms, claims: wanted } = parseBody(newClaims, body);
    return { claims: await make(wanted, lifetime_ms) };
  };

  const deleteClaim = async ({ params }: RouteRequest): Promise<object> => {
    fence.check();
    await claims.remove(params.get('claim') ?? '');
    return {};
  };

  const right = 'device.claim';
  const path = '/api/v1/claims';
  return [
    { method: 'POST', path, right, handle: postClaim },
    { method: 'POST', path: `${path}/batch`, right, handle: postClaims },
    {
      method: 'GET',
      path,
      right,
      handle: async () => ({ claims: (await claims.open()).map(openRow) }),
    },
    { method: 'DELETE', path: `${path}/:claim`, right, handle: deleteClaim },
  ];
};

const madeRow = ({ device, model, expiresAt }: MadeClaim, code: string) => ({
  code,
  device_id: device,
  model,
  expires_at: expiresAt,
});

const openRow = ({ id, device, model, createdAt, expiresAt }: OpenMadeClaim) => ({
  claim: id,
  device_id: device,
  model,
  created_at: createdAt,
  expires_at: expiresAt,
});
