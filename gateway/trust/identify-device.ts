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
  /** Why a device is out of service; undefined when it is not. */
  readonly refusal: (device: string) => string | undefined;
  readonly clock: Clock;
}

export const identifyDevice =
  ({ root, siteCa, site, isRevoked, refusal, clock }: IdentifyDependencies) =>
  (socket: TLSSocket): DeviceIdentity | Refusal => {
    try {
      const { name, serial, issuerSerial } = verifyPeer(socket, {
        root,
        intermediates: [siteCa],
        site,
        role: 'device',
        isRevoked,
        at: clock.trusted ? clock.now() : 'unchecked',
      });
      const reason = refusal(name);
      if (reason !== undefined) return { kind: 'refused', reason };
      return { kind: 'device', site, device: name, serial, issuerSerial };
    } catch (error) {
      return { kind: 'refused', reason: messageOf(error) };
    }
  };
