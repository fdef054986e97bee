/** What the status light of a gateway says, as a pure function of how the gateway is. */

/** `steady`: all is well; `slow`: it serves, and cannot reach its control plane; `fast`: somebody has to look; `flicker`: a device may join. */
export type Light = 'steady' | 'slow' | 'fast' | 'flicker';

export interface GatewayState {
  readonly isLinkUp: boolean;
  /** What is not well on site, one short sentence each. */
  readonly faults: readonly string[];
  /** Whether a device may join, since the pairing button was pressed. */
  readonly isPairing?: boolean;
}

export const lightOf = ({ isLinkUp, faults, isPairing = false }: GatewayState): Light => {
  // Somebody stands before it.
  if (isPairing) return 'flicker';
  if (faults.length > 0) return 'fast';
  return isLinkUp ? 'steady' : 'slow';
};

/** How long the light is on, and then off, ms; null where it never goes out. */
export const blinkOf = (light: Light): number | null =>
  ({ steady: null, slow: 1_000, fast: 250, flicker: 60 })[light];
