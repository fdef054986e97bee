/** Opens the renewal of the gateway's own certificates: each time the link is up, and every hour. */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import type { DialOptions } from '../link/dial.js';
import { askToRenew } from '../link/renew-certificates.js';
import type { GatewayIdentity } from './gateway-identity.js';
import { GatewayRenewal } from './gateway-renewal.js';
import type { ServerCertificate } from './server-certificate.js';

export interface OpenGatewayRenewalDependencies {
  readonly identity: GatewayIdentity;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly schedule: Schedule;
  readonly certificate: ServerCertificate;
  readonly dial: DialOptions;
  readonly isLinkUp: () => boolean;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

const hourly = '37 * * * *';

export const openGatewayRenewal = (deps: OpenGatewayRenewalDependencies): GatewayRenewal => {
  const { certificate, dial, isLinkUp, onClose, schedule } = deps;
  const renewal = new GatewayRenewal({
    ...deps,
    ask: (request) => askToRenew(dial, request),
    onRenewed: () => certificate.show(),
  });
  const checking = schedule(hourly, () => renewal.check(isLinkUp()));
  onClose('renewal of the gateway', () => checking.stop());
  return renewal;
};
