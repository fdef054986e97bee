/**
 * The certificate that the gateway's servers show to devices and people: issued by the site CA for the names and addresses that the
 * gateway has now, and anew when these change or half of its life is over.
 */
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  type Certificate,
  parseCertificate,
  pemChain,
} from '@holdfast/provisioning/pki/certificate';
import { type Authority, issueGatewayServer } from '@holdfast/provisioning/pki/issue';
import { type KeyPair, loadOrCreateKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { renewalAt } from '@holdfast/provisioning/pki/renewal-time';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import * as v from 'valibot';

export interface ServerCertificateDependencies {
  readonly siteCa: Authority;
  readonly root: Certificate;
  readonly clock: Clock;
  readonly log: StoreLog;
  /** DNS names and IP addresses under which the gateway is reached now. */
  readonly hosts: () => readonly string[];
}

export interface ServerCertificateOptions {
  readonly dataDirectory: string;
  readonly gatewayId: string;
}

/** Certificate chain, the root included so that a first contact can compare its fingerprint, and key, both in PEM. */
export interface ServerCredentials {
  readonly cert: string;
  readonly key: string;
}

const schema = v.object({ certificate: v.string(), hosts: v.array(v.string()) });
type StoredCertificate = v.InferOutput<typeof schema>;

export class ServerCertificate {
  readonly #deps: ServerCertificateDependencies;
  readonly #gatewayId: string;
  readonly #key: KeyPair;
  readonly #stored: StoredRecord<StoredCertificate | null>;
  readonly #listeners = new Set<(credentials: ServerCredentials) => void>();

  private constructor(
    deps: ServerCertificateDependencies,
    gatewayId: string,
    key: KeyPair,
    stored: StoredRecord<StoredCertificate | null>,
  ) {
    this.#deps = deps;
    this.#gatewayId = gatewayId;
    this.#key = key;
    this.#stored = stored;
  }

  static async open(
    deps: ServerCertificateDependencies,
    { dataDirectory, gatewayId }: ServerCertificateOptions,
  ): Promise<ServerCertificate> {
    const key = await loadOrCreateKey(join(dataDirectory, 'server.key.pem'));
    const stored = await openRecord<StoredCertificate | null>({
      path: join(dataDirectory, 'server-certificate.json'),
      parse: v.parser(v.nullable(schema)),
      initial: null,
      log: deps.log,
    });
    const certificate = new ServerCertificate(deps, gatewayId, key, stored);
    await certificate.refresh();
    return certificate;
  }

  get credentials(): ServerCredentials {
    const { siteCa, root } = this.#deps;
    // `open` has refreshed, so there is one.
    const own = parseCertificate(this.#stored.data?.certificate ?? '');
    return { cert: pemChain(own, siteCa.certificate, root), key: privatePem(this.#key) };
  }

  /** Tells of every new certificate; returns how to stop. */
  onChange(listener: (credentials: ServerCredentials) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Issues a new one if the present one no longer fits; to be called now and then. */
  async refresh(): Promise<void> {
    const { siteCa, clock, hosts } = this.#deps;
    const wanted = [...new Set(hosts())].sort();
    if (this.#fits(wanted)) return;
    const issued = await issueGatewayServer(siteCa, this.#key.publicKey, {
      gateway: this.#gatewayId,
      hosts: wanted,
      // A clock that has lost its time must not make a certificate that was never valid.
      now: Math.max(clock.now(), siteCa.certificate.notBefore),
    });
    await this.#stored.update(() => ({ certificate: issued.pem, hosts: wanted }));
    this.#tell();
  }

  /** The site CA has a new certificate: from now on that one stands in the chain. */
  async show(): Promise<void> {
    await this.refresh();
    this.#tell();
  }

  #tell(): void {
    const { credentials } = this;
    for (const listener of this.#listeners) listener(credentials);
  }

  #fits(hosts: readonly string[]): boolean {
    const { siteCa, clock } = this.#deps;
    const { data } = this.#stored;
    if (data === null || data.hosts.join() !== hosts.join()) return false;
    const own = parseCertificate(data.certificate);
    if (!own.x509.verify(siteCa.certificate.publicKey)) return false;
    // An untrusted clock expires nothing (DESIGN.md, "Time").
    if (!clock.trusted) return true;
    // One that was made by a clock gone ahead would not be valid yet.
    return clock.now() >= own.notBefore && clock.now() < renewalAt(own);
  }
}

const machineAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .map(({ address }) => address)
    .filter((address) => !address.startsWith('fe80:') && !address.startsWith('169.254.'));

/** The names and addresses of this machine: its host name, with `.local`, and every address that is not link-local. */
export const machineHosts = (): string[] => {
  const name = hostname();
  const local = `${name.split('.')[0]}.local`;
  return ['localhost', '127.0.0.1', '::1', name, local, ...machineAddresses()];
};

/** The name or address by which devices and people on site reach this gateway. */
export const gatewayHost = ({
  names,
  listen,
}: {
  readonly names: { readonly hosts: readonly string[] };
  readonly listen: { readonly host: string };
}): string =>
  names.hosts[0] ??
  // One that listens on one address is reached there alone.
  (['0.0.0.0', '::', ''].includes(listen.host) ? machineAddress() : listen.host);

/** The address under which others on site reach this machine; loopback when there is none. */
const machineAddress = (): string =>
  machineAddresses().find((address) => /^\d+\./.test(address) && !address.startsWith('127.')) ??
  '127.0.0.1';
