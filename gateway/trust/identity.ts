/** Who is at the other end of a connection, once it has proved it. */
import type { Role } from '@holdfast/protos/local/people';

/** Who speaks MQTT. */
export type Identity = DeviceIdentity | ServiceIdentity;

/** Whoever may ask a door for anything. */
export type Principal =
  | Identity
  | LineIdentity
  | UrlIdentity
  | TargetIdentity
  | PersonIdentity
  | Anonymous;

export interface DeviceIdentity {
  readonly kind: 'device';
  readonly site: string;
  readonly device: string;
  /** The certificate's serial number, hexadecimal: what a revocation names. */
  readonly serial: string;
  /** The serial number of the site CA's certificate that issued it: it may be revoked itself. */
  readonly issuerSerial: string;
}

/** A service of the gateway's own machine, on the loopback listener. */
export interface ServiceIdentity {
  readonly kind: 'service';
  readonly name: string;
  /** Topic filters it may publish to and subscribe to; a policy grants nothing beneath `$`. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** A serial line: it has no certificate, the gateway vouches for the one device that is configured for it. */
export interface LineIdentity {
  readonly kind: 'line';
  readonly device: string;
  readonly path: string;
}

/** Whoever has an address that the gateway signed for a device; it is good for the one request that shows it. */
export interface UrlIdentity {
  readonly kind: 'url';
  readonly device: string;
}

/** A client of hawkBit's device interface that has no certificate and showed a token. */
export interface TargetIdentity {
  readonly kind: 'target';
  /** null for the gateway token, which speaks for every device. */
  readonly device: string | null;
}

/** Somebody who signed in, or who has the operator token; the holder of that is an installer. */
export interface PersonIdentity {
  readonly kind: 'person';
  readonly user: string;
  readonly role: Role;
}

/** Nobody in particular; `reason` says why a certificate or a token that was shown makes nobody known, for the log. */
export interface Anonymous {
  readonly kind: 'anonymous';
  readonly reason?: string;
}

export const anonymous: Anonymous = { kind: 'anonymous' };

/** Why a peer is not who it needs to be; `reason` is for the log, the peer learns nothing. */
export interface Refusal {
  readonly kind: 'refused';
  readonly reason: string;
}

/** As the journal and the log name them. */
export const nameOf = (who: Principal): string => {
  switch (who.kind) {
    case 'device':
      return `device ${who.device}`;
    case 'line':
      return `line of ${who.device}`;
    case 'url':
      return `signed address of ${who.device}`;
    case 'target':
      return who.device === null ? 'gateway token' : `target ${who.device}`;
    case 'service':
      return `service ${who.name}`;
    case 'person':
      return `user ${who.user}`;
    case 'anonymous':
      return 'nobody';
  }
};
