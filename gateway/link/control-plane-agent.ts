/** How this gateway shows itself to the control plane, and how it knows it again over HTTPS. */
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { privatePem } from '@holdfast/provisioning/pki/keys';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ConnectProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import type { GatewayIdentity } from '../trust/gateway-identity.js';

/** Read at each connection: the certificate is renewed while the program runs. */
export const linkCredentials = ({ link }: GatewayIdentity) => ({
  get cert() {
    return link.certificate.pem;
  },
  key: privatePem(link.key),
});

export const controlPlaneAgent = ({
  identity,
  clock,
  via,
  isRevoked,
}: {
  readonly identity: GatewayIdentity;
  readonly clock: Clock;
  readonly via: ConnectProxy | undefined;
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
}) =>
  verifiedAgent(
    {
      role: 'control-plane',
      root: identity.root,
      isRevoked,
      // Asked at each connection: the program may run for years.
      get at() {
        return clock.trusted ? clock.now() : ('unchecked' as const);
      },
    },
    { client: linkCredentials(identity), keepAlive: false, ...(via && { via }) },
  );
