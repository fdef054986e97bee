/** Who a device is by the certificate of its connection; asked on every connection, resumed ones too. */
import type { TLSSocket } from 'node:tls';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { verifyPeer } from '@holdfast/provisioning/pki/tls-peer';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { DeviceIdentity, Refusal } from './identity.js';

export interface IdentifyDependencies {
  readonly root: Certificate;
  /** The certificates of the site's CAs, also of those before the present one. */
  readonly siteCas: () => readonly Certificate[];
  readonly site: string;
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
  /** Why a device is out of service; undefined when it is not. */
  readonly refusal: (device: string) => string | undefined;
  readonly clock: Clock;
}

export interface IdentifyOptions {
  /** How long after its end a certificate is still taken: for its renewal, which decides for itself. 0 unless given. */
  readonly expiredForMs?: number;
}

export type IdentifyDevice = (socket: TLSSocket) => DeviceIdentity | Refusal;

export const identifyDevice =
  (
    { root, siteCas, site, isRevoked, refusal, clock }: IdentifyDependencies,
    { expiredForMs = 0 }: IdentifyOptions = {},
  ): IdentifyDevice =>
  (socket) => {
    try {
      const { name, serial, issuerSerial } = verifyPeer(socket, {
        root,
        intermediates: siteCas(),
        site,
        role: 'device',
        isRevoked,
        at: clock.trusted ? clock.now() : 'unchecked',
        expiredForMs,
        // Issued at this site, while its clock was wrong: the device has it, and may have no other.
        aheadForMs: Number.POSITIVE_INFINITY,
      });
      const reason = refusal(name);
      if (reason !== undefined) return { kind: 'refused', reason };
      return { kind: 'device', site, device: name, serial, issuerSerial };
    } catch (error) {
      return { kind: 'refused', reason: messageOf(error) };
    }
  };
