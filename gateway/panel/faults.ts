/** What is not well at a site as far as its gateway can see, for a light that has somebody look. */
import type { SerialLineStatus } from '../doors/serial/serial-lines.js';
import type { CertificateState } from '../trust/gateway-renewal.js';

export interface FaultSources {
  readonly isFenced: boolean;
  readonly lines: readonly Pick<SerialLineStatus, 'name' | 'isUp'>[];
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
  ...lines.filter(({ isUp }) => !isUp).map(({ name }) => `the serial line ${name} is down`),
  ...certificates
    .filter(({ state }) => state === 'alarm' || state === 'expired')
    .map(({ name }) => `the certificate ${name} runs out`),
  ...(firmwareProblem === undefined ? [] : [firmwareProblem]),
];
