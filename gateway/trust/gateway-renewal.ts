/**
 * Renews the gateway's certificate for the link and that of the site CA over the link, from about half of their life on, so that a WAN
 * that is away for half a year is no reason for anything to run out. The keys stay (decisions/0003): what was certified with them goes
 * on being valid, and devices, which trust the root, see the new site CA in the chain that the gateway shows.
 *
 * The link lets no gateway in whose certificate has run out: that one asks over HTTPS, where it is taken for as long again as it lived.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type {
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { isNameEqual } from '@holdfast/provisioning/pki/distinguished-name';
import { alarmAt, renewalAt } from '@holdfast/provisioning/pki/renewal-time';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { GatewayIdentity, RenewedIdentity } from './gateway-identity.js';

export interface GatewayRenewalDependencies {
  readonly identity: GatewayIdentity;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly ask: (request: RenewCertificatesRequest) => Promise<RenewCertificatesResponse>;
  /** The same where the link lets this gateway no longer in. */
  readonly askLate: (request: RenewCertificatesRequest) => Promise<RenewCertificatesResponse>;
  /** After something was renewed: what shows these certificates shows the new ones. */
  readonly onRenewed: () => Promise<void>;
}

/** How it stands with one of the gateway's certificates. `alarm`: a third of its life is left, and nobody has renewed it. */
export interface CertificateState {
  readonly name: 'link' | 'site_ca';
  readonly expiresAt: number;
  readonly state: 'ok' | 'due' | 'alarm' | 'expired';
}

export class GatewayRenewal {
  readonly #deps: GatewayRenewalDependencies;
  #hasAsked = false;
  #working: Promise<void> | undefined;

  constructor(deps: GatewayRenewalDependencies) {
    this.#deps = deps;
  }

  /** An untrusted clock expires nothing, and so makes nothing due. */
  states(): CertificateState[] {
    const { identity } = this.#deps;
    return [
      { name: 'link', ...this.#stateOf(identity.link.certificate) },
      { name: 'site_ca', ...this.#stateOf(identity.siteCa.certificate) },
    ];
  }

  /**
   * To be called each time the link is up, and now and then. Asks for what is due, and once a start in any case: for the CAs of gateways
   * before this one, whose devices are still there. Never rejects; what fails is asked for again the next time.
   */
  check(isLinkUp: boolean): Promise<void> {
    return this.#alone(() => this.#check(isLinkUp));
  }

  /**
   * To be called often while the link is down: asks for what has run out where the link is not needed. A gateway that does not know the time
   * cannot know whether that is why it is not let in, and asks too. Never rejects.
   */
  async knock(isLinkUp: boolean): Promise<void> {
    const { clock, log, askLate } = this.#deps;
    if (isLinkUp || (clock.trusted && this.#linkState() !== 'expired')) return;
    await this.#alone(async () => {
      try {
        await this.#renew(askLate);
      } catch (error) {
        const code = isHoldfastError(error) ? error.code : undefined;
        log.info({ code, reason: messageOf(error) }, 'certificates were not renewed late');
      }
    });
  }

  #linkState(): CertificateState['state'] {
    return this.#stateOf(this.#deps.identity.link.certificate).state;
  }

  #alone(work: () => Promise<void>): Promise<void> {
    this.#working ??= work().finally(() => {
      this.#working = undefined;
    });
    return this.#working;
  }

  async #check(isLinkUp: boolean): Promise<void> {
    const { log } = this.#deps;
    for (const { name, state, expiresAt } of this.states()) {
      if (state === 'ok' || state === 'due') continue;
      log.error(
        { certificate: name, expiresAt: new Date(expiresAt).toISOString(), state },
        'a certificate of this gateway runs out: let it reach its control plane',
      );
    }
    const isDue = this.states().some(({ state }) => state !== 'ok');
    if (!isLinkUp || (!isDue && this.#hasAsked)) return;
    try {
      await this.#renew(this.#deps.ask);
      this.#hasAsked = true;
    } catch (error) {
      // A control plane of before knows no renewal; nothing is due yet.
      const code = isHoldfastError(error) ? error.code : undefined;
      const tell = isDue ? log.warn : log.info;
      tell.call(log, { code, reason: messageOf(error) }, 'certificates were not renewed');
    }
  }

  async #renew(ask: GatewayRenewalDependencies['ask']): Promise<void> {
    const { identity, clock, log, onRenewed } = this.#deps;
    const { link, siteCa } = identity;
    // Without the time, the control plane says what is due: it gives what it issued lately again.
    const isDue = (certificate: Certificate) =>
      this.#stateOf(certificate).state !== 'ok' || (!clock.trusted && ask === this.#deps.askLate);
    const requestOf = async (authority: GatewayIdentity['siteCa'], commonName: string) =>
      isDue(authority.certificate)
        ? Buffer.from(await createRequest(authority.key, { commonName }))
        : Buffer.alloc(0);
    const answer = await ask({
      gatewayCsr: await requestOf(link, 'gateway'),
      siteCaCsr: await requestOf(siteCa, 'site CA'),
    });
    const renewed: RenewedIdentity = {
      gateway: this.#linkCertificate(answer.gatewayCertificate),
      siteCa: this.#siteCaCertificate(answer.siteCaCertificate),
      formerSiteCas: answer.formerSiteCaCertificates.map((pem) => this.#authority(pem)),
    };
    const former = identity.siteCas.slice(1).map(({ pem }) => pem);
    const isSame = renewed.formerSiteCas?.map(({ pem }) => pem).join() === former.join();
    if (renewed.gateway === undefined && renewed.siteCa === undefined && isSame) return;
    await identity.adopt(renewed);
    await onRenewed();
    const untilOf = (certificate: Certificate | undefined) =>
      certificate && new Date(certificate.notAfter).toISOString();
    log.info(
      { link: untilOf(renewed.gateway), siteCa: untilOf(renewed.siteCa) },
      'the certificates of this gateway are renewed',
    );
  }

  #linkCertificate(pem: string): Certificate | undefined {
    if (pem === '') return undefined;
    const { identity } = this.#deps;
    const { root, record, link } = identity;
    const certificate = parseCertificate(pem);
    const verdict = verifyChain({
      certificate,
      root,
      role: 'gateway',
      site: record.site,
      at: 'unchecked',
    });
    const isOurs =
      verdict.refused === undefined &&
      verdict.identity.name === record.gateway_id &&
      certificate.publicKey.equals(link.key.publicKey);
    if (!isOurs) throw unusable('the certificate for the link is not this gateway’s');
    return certificate.sha256 === link.certificate.sha256 ? undefined : certificate;
  }

  #siteCaCertificate(pem: string): Certificate | undefined {
    if (pem === '') return undefined;
    const { siteCa } = this.#deps.identity;
    const certificate = this.#authority(pem);
    if (!certificate.publicKey.equals(siteCa.key.publicKey)) {
      throw unusable('the certificate of the site CA is for another key');
    }
    return certificate.sha256 === siteCa.certificate.sha256 ? undefined : certificate;
  }

  /** A CA of this site by this root. */
  #authority(pem: string): Certificate {
    const { root, siteCa } = this.#deps.identity;
    const certificate = parseCertificate(pem);
    const { extensions, subject, x509 } = certificate;
    const isCa = extensions.isCa && extensions.pathLength === 0;
    if (
      !isCa ||
      !x509.verify(root.publicKey) ||
      !isNameEqual(subject, siteCa.certificate.subject)
    ) {
      throw unusable('an authority is not one of this site');
    }
    return certificate;
  }

  #stateOf(certificate: Certificate): Pick<CertificateState, 'expiresAt' | 'state'> {
    const { clock } = this.#deps;
    const { notAfter: expiresAt } = certificate;
    const now = clock.now();
    if (!clock.trusted) return { expiresAt, state: 'ok' };
    if (now > expiresAt) return { expiresAt, state: 'expired' };
    if (now >= alarmAt(certificate)) return { expiresAt, state: 'alarm' };
    return { expiresAt, state: now >= renewalAt(certificate) ? 'due' : 'ok' };
  }
}

const unusable = (why: string) =>
  new HoldfastError('CERTIFICATE_INVALID', `The control plane’s answer cannot be used: ${why}`);
