/** Who a device is by the certificate of its connection; asked on every connection, resumed ones too. */
import type { TLSSocket } from 'node:tls';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { verifyPeer } from '@holdfast/provisioning/pki/tls-peer';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { DeviceIdentity, Refusal } from './identity.js';

export interface IdentifyDependencies {
  readonly root: Certificate;
  readonly siteCa: Certificate;
  readonly site: string;
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
  readonly clock: Clock;
}

export const identifyDevice =
  ({ root, siteCa, site, isRevoked, clock }: IdentifyDependencies) =>
  (socket: TLSSocket): DeviceIdentity | Refusal => {
    try {
      const { name, serial } = verifyPeer(socket, {
        root,
        intermediates: [siteCa],
        site,
        role: 'device',
        isRevoked,
        at: clock.trusted ? clock.now() : 'unchecked',
      });
      return { kind: 'device', site, device: name, serial };
    } catch (error) {
      return { kind: 'refused', reason: messageOf(error) };
    }
  };
