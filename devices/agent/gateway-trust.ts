/** What this device demands of a gateway: a server certificate of its own site, under its own fleet's root. */
import type { Agent } from 'node:https';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { type ServerTrust, verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { type Clock, systemClock } from '@holdfast/provisioning/time/clock';
import type { Credentials } from './identity.js';

/** Chain and key in PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

export class GatewayTrust {
  readonly #root: ServerTrust['root'];
  readonly #site: string;
  readonly #clock: Clock;
  #client: ClientCertificate;

  /** `clock` is this machine's. */
  constructor(credentials: Credentials, clock?: Clock) {
    const { identity } = credentials;
    this.#root = parseCertificate(identity.root);
    this.#site = identity.site;
    // A Pi has no clock of its own: below the time it was enrolled at, dates say nothing.
    this.#clock =
      clock ?? systemClock({ floorMs: parseCertificate(identity.certificate).notBefore });
    this.#client = clientOf(credentials);
  }

  /** What this device shows of itself; another object after each renewal. */
  get client(): ClientCertificate {
    return this.#client;
  }

  /** For connections from now on. */
  adopt(credentials: Credentials): void {
    this.#client = clientOf(credentials);
  }

  /** For one connection: dates are checked by the clock of now. */
  now(): ServerTrust {
    return {
      role: 'gateway-server',
      root: this.#root,
      site: this.#site,
      at: this.#clock.trusted ? this.#clock.now() : 'unchecked',
    };
  }

  httpsAgent(): Agent {
    return verifiedAgent(this.now(), { client: this.#client });
  }
}

const clientOf = ({ identity, key }: Credentials): ClientCertificate => ({
  cert: `${identity.certificate}\n${identity.siteCa}`,
  key,
});
