/** A gateway as its certificate and the registry name it. */
export interface GatewayIdentity {
  readonly site: string;
  readonly gateway: string;
  /** The epoch that its certificate was issued for. */
  readonly epoch: number;
}
