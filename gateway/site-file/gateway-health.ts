/** Whether a gateway is as well with a new configuration as it was with the one before. */
import type { SerialLineStatus } from '../doors/serial/serial-lines.js';

export interface GatewayHealth {
  readonly isLinkUp: boolean;
  readonly lines: readonly Pick<SerialLineStatus, 'name' | 'isUp'>[];
}

/**
 * What was well before and is not now; undefined when nothing is. That the gateway serves is known already; a link that was down
 * before says nothing about the configuration, for a WAN is down whenever it likes.
 */
export const whatIsWorse = (
  before: GatewayHealth | undefined,
  now: GatewayHealth,
): string | undefined => {
  const silent = now.lines.filter(
    ({ name, isUp }) => !isUp && before?.lines.some((line) => line.name === name && line.isUp),
  );
  if (silent.length > 0) {
    return `the serial line ${silent.map(({ name }) => name).join(', ')} was up before and is down`;
  }
  if (before?.isLinkUp && !now.isLinkUp) return 'the link was up before and does not come up';
  return undefined;
};
