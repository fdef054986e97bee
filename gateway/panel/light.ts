/** What the status light of a gateway says, as a pure function of how the gateway is. */

/** `steady`: all is well; `slow`: it serves, and cannot reach its control plane; `fast`: somebody has to look. */
export type Light = 'steady' | 'slow' | 'fast';

export interface GatewayState {
  readonly isLinkUp: boolean;
  /** What is not well on site, one short sentence each. */
  readonly faults: readonly string[];
}

export const lightOf = ({ isLinkUp, faults }: GatewayState): Light => {
  if (faults.length > 0) return 'fast';
  return isLinkUp ? 'steady' : 'slow';
};

/** How long the light is on, and then off, ms; null where it never goes out. */
export const blinkOf = (light: Light): number | null =>
  ({ steady: null, slow: 1_000, fast: 250 })[light];
