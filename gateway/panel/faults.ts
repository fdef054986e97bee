/** What is not well at a site as far as its gateway can see, for a light that has somebody look. */
import type { SerialLineStatus } from '../doors/serial/device-line.js';
import type { CertificateState } from '../trust/gateway-renewal.js';

export interface FaultSources {
  readonly isFenced: boolean;
  readonly lines: readonly Pick<SerialLineStatus, 'path' | 'isUp'>[];
  readonly certificates: readonly Pick<CertificateState, 'name' | 'state'>[];
  /** Of the firmware cache. */
  readonly firmwareProblem: string | undefined;
}

export const faultsOf = ({
  isFenced,
  lines,
  certificates,
  firmwareProblem,
}: FaultSources): string[] => [
  ...(isFenced ? ['another gateway owns the site'] : []),
  ...lines.filter(({ isUp }) => !isUp).map(({ path }) => `the serial line ${path} is down`),
  ...certificates
    .filter(({ state }) => state === 'alarm' || state === 'expired')
    .map(({ name }) => `the certificate ${name} runs out`),
  ...(firmwareProblem === undefined ? [] : [firmwareProblem]),
];
