/** What a technician does about the certificates and the life of a device, with the WAN or without. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { lifecycleActions } from '@holdfast/protos/semantics/lifecycle';
import { revocationReason } from '@holdfast/protos/semantics/revocation-reason';
import * as v from 'valibot';
import type { DeviceLifecycle } from '../../devices/lifecycle.js';
import type { Lifecycles } from '../../devices/lifecycles.js';
import type { RegisteredCertificate } from '../../trust/certificate-register.js';
import type { Revocations } from '../../trust/revocations.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';

export interface DeviceLifeRoutesDeps {
  readonly lifecycles: Pick<Lifecycles, 'decide'>;
  readonly revocations: Pick<Revocations, 'revoke'>;
  /** Of a device, the newest first. */
  readonly certificatesOf: (device: string) => Promise<RegisteredCertificate[]>;
  readonly isKnown: (device: string) => boolean;
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const text = v.pipe(v.string(), v.maxLength(500));
const newRevocation = v.strictObject({
  /** Absent: every one that the device has. */
  serial: v.exactOptional(v.pipe(v.string(), v.regex(/^[0-9a-f]{1,128}$/, 'Expected a serial'))),
  reason: v.exactOptional(revocationReason),
});
const newDecision = v.strictObject({
  action: v.picklist(lifecycleActions),
  reason: v.exactOptional(text),
});

export const deviceLifeRoutes = (deps: DeviceLifeRoutesDeps): readonly Route[] => {
  const { lifecycles, revocations, certificatesOf, isKnown, fence } = deps;

  /** Its certificates outlive a device that was deleted, and can still be looked at. */
  const certificatesOfDevice = async ({ params }: RouteRequest) => {
    const device = params.get('device') ?? '';
    const certificates = await certificatesOf(device);
    if (certificates.length > 0 || isKnown(device)) return certificates;
    throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no device ${device} at this site`, {
      data: { next: 'holdfast --gateway device list' },
    });
  };

  const listCertificates = async (request: RouteRequest): Promise<object> => ({
    certificates: (await certificatesOfDevice(request)).map(certificateRow),
  });

  const revoke = async (request: RouteRequest): Promise<object> => {
    fence.check();
    const { serial, reason = 'unspecified' } = parseBody(newRevocation, request.body);
    const certificates = await certificatesOfDevice(request);
    const chosen = certificates.filter((one) => serial === undefined || one.serial === serial);
    if (serial !== undefined && chosen.length === 0) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `it has no certificate ${serial}`);
    }
    const cause = { reason, actor: `site:${actorOf(request.who)}` };
    const revoked: string[] = [];
    let due = chosen;
    for (;;) {
      const done = await revocations.revoke(due, cause);
      revoked.push(...done.map((one) => one.serial));
      if (serial !== undefined || done.length === 0) return { revoked };
      // It may have renewed one of them a moment before; from now on it cannot.
      due = await certificatesOf(request.params.get('device') ?? '');
    }
  };

  const decide = async (request: RouteRequest): Promise<object> => {
    fence.check();
    const { action, reason = '' } = parseBody(newDecision, request.body);
    const device = request.params.get('device') ?? '';
    const actor = `site:${actorOf(request.who)}`;
    return lifecycleRow(await lifecycles.decide(device, { action, reason, actor }));
  };

  const device = '/api/v1/devices/:device';
  return [
    {
      method: 'GET',
      path: `${device}/certificates`,
      right: 'site.read',
      handle: listCertificates,
    },
    {
      method: 'POST',
      path: `${device}/revocations`,
      right: 'device.revoke',
      handle: revoke,
    },
    {
      method: 'POST',
      path: `${device}/lifecycle`,
      right: 'device.lifecycle',
      handle: decide,
    },
  ];
};

export const lifecycleRow = ({ state, since, reason, actor }: DeviceLifecycle) => ({
  state,
  since,
  reason,
  actor,
});

const certificateRow = (certificate: RegisteredCertificate) => ({
  serial: certificate.serial,
  issuer_key_id: certificate.issuerKeyId,
  issued_at: certificate.issuedAt,
  expires_at: certificate.expiresAt,
  replaces: certificate.replaces,
  first_used_at: certificate.firstUsedAt,
  revoked_at: certificate.revokedAt,
  revocation_reason: certificate.revocationReason,
});
