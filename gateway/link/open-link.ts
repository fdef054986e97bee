/** Makes the link to the control plane, with what goes over the same line beside it: the time, and the gateway's own certificates. */
import { verifyTime } from '@holdfast/provisioning/documents/time';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import type { TrustedClock } from '@holdfast/provisioning/time/trusted-clock';
import type { ConnectProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import type { GatewayIdentity } from '../trust/gateway-identity.js';
import type { GatewayRenewal } from '../trust/gateway-renewal.js';
import { openGatewayRenewal } from '../trust/open-gateway-renewal.js';
import type { ServerCertificate } from '../trust/server-certificate.js';
import { linkCredentials } from './control-plane-agent.js';
import { type DialOptions, grpcDial } from './dial.js';
import { FarEnd, probeOf } from './far-end.js';
import { Link, type LinkDeps, type LinkOptions } from './link.js';
import { TimeQuestion } from './time-question.js';

export interface OpenLinkDependencies
  extends Pick<LinkDeps, 'lanes' | 'plan' | 'orders' | 'fence' | 'log'> {
  readonly identity: GatewayIdentity;
  readonly clock: TrustedClock;
  readonly schedule: Schedule;
  readonly certificate: ServerCertificate;
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
  readonly via: ConnectProxy | undefined;
  /** Told each time the control plane has welcomed us. */
  readonly onUp: () => void;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface OpenedLink {
  /** To be opened when the site is served. */
  readonly link: Link;
  readonly gatewayRenewal: GatewayRenewal;
}

export const openLink = (deps: OpenLinkDependencies, options: LinkOptions): OpenedLink => {
  const { identity, clock, log, isRevoked, via, onUp } = deps;
  const { record, root } = identity;
  const dial: DialOptions = {
    ...{ address: record.link_address, root, isRevoked, clock, via },
    client: () => linkCredentials(identity),
    onDatesRefused: () => clock.contradict(),
  };
  const gatewayRenewal = openGatewayRenewal({
    ...deps,
    dial,
    isLinkUp: () => link.status().connected,
  });
  const link = new Link(
    {
      ...deps,
      onUp: () => {
        onUp();
        void gatewayRenewal.check(true);
      },
      dial: grpcDial(dial),
      farEnd: new FarEnd({ probe: probeOf(record.link_address, via) }),
      time: new TimeQuestion({
        clock,
        log,
        verify: (jws, nonce) => verifyTime(jws, { root, isRevoked }, { site: record.site, nonce }),
      }),
    },
    options,
  );
  return { link, gatewayRenewal };
};
