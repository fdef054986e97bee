/** Tokens for clients of hawkBit's device interface, as a person at the site makes and revokes them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import * as v from 'valibot';
import type { TargetTokens } from '../../trust/target-tokens.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';

export interface TargetTokenRoutesDeps {
  readonly targetTokens: Pick<TargetTokens, 'make' | 'revoke' | 'of'>;
  /** Cuts what a device has open by its token. */
  readonly cut: (device: string) => void;
  /** What a client has to know besides: `https://HOST:PORT`, the tenant, and the root that it is to trust, in PEM. */
  readonly access: () => { readonly url: string; readonly tenant: string; readonly root: string };
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const newToken = v.strictObject({
  model: v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(128))),
});

export const targetTokenRoutes = (deps: TargetTokenRoutesDeps): readonly Route[] => {
  const { targetTokens, fence, cut, access } = deps;

  const deviceOf = ({ params }: RouteRequest): string => {
    const device = params.get('device') ?? '';
    if (isDeviceId(device)) return device;
    throw new HoldfastError(
      'REQUEST_INVALID',
      'a device id is 1 to 64 of letters, digits, _ and -',
    );
  };

  const make = async (request: RouteRequest): Promise<object> => {
    const device = deviceOf(request);
    const { model = null } = parseBody(newToken, request.body);
    const actor = `site:${actorOf(request.who)}`;
    const made = await targetTokens.make({ device, model, actor });
    if (made.replaced) cut(device);
    return { device, ...made, ...access() };
  };

  const show = async (request: RouteRequest): Promise<object> => {
    const device = deviceOf(request);
    const row = targetTokens.of(device);
    if (row !== undefined) return { device, made_at: row.madeAt, made_by: row.madeBy };
    throw new HoldfastError('RESOURCE_NOT_FOUND', `${device} has no token`, {
      data: { next: `holdfast --gateway device token ${device}` },
    });
  };

  const revoke = async (request: RouteRequest): Promise<object> => {
    fence.check();
    const device = deviceOf(request);
    await targetTokens.revoke(device, `site:${actorOf(request.who)}`);
    cut(device);
    return {};
  };

  const path = '/api/v1/devices/:device/token';
  const right = 'device.token';
  return [
    { method: 'POST', path, right, handle: make },
    { method: 'GET', path, right, handle: show },
    { method: 'DELETE', path, right, handle: revoke },
  ];
};
