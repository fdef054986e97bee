/** Opens the renewal of the gateway's own certificates: each time the link is up, and every hour; every minute once they have run out. */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import { controlPlaneAgent } from '../link/control-plane-agent.js';
import type { DialOptions } from '../link/dial.js';
import { askLate, askToRenew } from '../link/renew-certificates.js';
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
const everyMinute = '* * * * *';

export const openGatewayRenewal = (deps: OpenGatewayRenewalDependencies): GatewayRenewal => {
  const { certificate, clock, dial, identity, isLinkUp, onClose, schedule } = deps;
  const { isRevoked = () => false, via } = dial;
  const late = {
    address: identity.record.https_address,
    agent: controlPlaneAgent({ identity, clock, via, isRevoked }),
  };
  const renewal = new GatewayRenewal({
    ...deps,
    ask: (request) => askToRenew(dial, request),
    askLate: (request) => askLate(late, request),
    onRenewed: () => certificate.show(),
  });
  const checking = schedule(hourly, () => renewal.check(isLinkUp()));
  const knocking = schedule(everyMinute, () => renewal.knock(isLinkUp()));
  onClose('renewal of the gateway', async () => {
    await knocking.stop();
    await checking.stop();
    late.agent.destroy();
  });
  return renewal;
};
