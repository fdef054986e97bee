/** Who is at the other end of a connection, once it has proved it. */
export type Identity = DeviceIdentity | ServiceIdentity;

export interface DeviceIdentity {
  readonly kind: 'device';
  readonly site: string;
  readonly device: string;
  /** The certificate's serial number, hexadecimal: what a revocation names. */
  readonly serial: string;
}

/** A service of the gateway's own machine, on the loopback listener. */
export interface ServiceIdentity {
  readonly kind: 'service';
  readonly name: string;
  /** Topic filters it may publish to and subscribe to; a policy grants nothing beneath `$`. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** Why a peer is not who it needs to be; `reason` is for the log, the peer learns nothing. */
export interface Refusal {
  readonly kind: 'refused';
  readonly reason: string;
}
