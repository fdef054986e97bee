/**
 * Gives a device a new certificate on the strength of the one it has, which may have expired lately. The name stays; the key may be
 * another. Certificate and journal entry are one commit, and the answer leaves after it; asked again with the same key by the same
 * certificate, it gives the same one again, since the answer may have been lost, until that is itself to be renewed. What is asked of one
 * device is done one after the other, so that two requests of it do not get two certificates.
 *
 * The old certificate holds until `Supersession` has seen the new one in use.
 */
import type { KeyObject } from 'node:crypto';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SitePolicy } from '@holdfast/protos/link/site-policy';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { isNameEqual } from '@holdfast/provisioning/pki/distinguished-name';
import { type Authority, issueDevice } from '@holdfast/provisioning/pki/issue';
import { renewalAt } from '@holdfast/provisioning/pki/renewal-time';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { Turns } from '../shadows/turns.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import {
  certificateOf,
  issuedSince,
  publicKeySha256,
  registerCertificate,
  renewalOf,
} from './certificate-register.js';
import { decideEnrolment, type KnownDevice } from './decide-enrolment.js';

export interface DeviceRenewalDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly siteCa: Authority;
  readonly policy: () => Pick<SitePolicy, 'deviceCertificates'>;
  readonly known: (device: string) => KnownDevice | undefined;
  /** Throws when this gateway may not write (it is fenced), or renews nothing for now. */
  readonly requireWritable: () => void;
}

/** The certificate that the device shows: verified, unrevoked, and TLS has proved that it holds the key. */
export interface ShownCertificate {
  readonly device: string;
  readonly certificate: Certificate;
}

/** One would do; a device may fail between asking and keeping many times. */
const mostInHalfALife = 50;
/** Requests of one device at once. */
const mostWaiting = 4;

/** Where nobody noted it, as after the gateway was replaced: no certificate for devices that do not renew lives so short. */
const renewingAtMostMs = 60 * 86_400_000;

export class DeviceRenewal {
  readonly #deps: DeviceRenewalDependencies;
  readonly #turns = new Turns(mostWaiting);

  constructor(deps: DeviceRenewalDependencies) {
    this.#deps = deps;
  }

  /**
   * `csr` is PKCS#10 in DER or PEM. Errors: CERTIFICATE_EXPIRED (too long ago), SITE_CA_EXPIRED, CERTIFICATE_REQUEST_INVALID,
   * REQUEST_INVALID (another name), PEER_REFUSED (revoked meanwhile), RESOURCE_STATE_WRONG (the device is out of service), TOO_MANY_ATTEMPTS,
   * GATEWAY_FENCED, those of the store.
   */
  async renew(shown: ShownCertificate, csr: Uint8Array | string): Promise<Certificate> {
    this.#deps.requireWritable();
    const { publicKey, subject } = await parseRequest(csr);
    if (subject === undefined || !isNameEqual(subject, shown.certificate.subject)) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `the request has to name exactly what the certificate names (O, OU, CN=${shown.device})`,
      );
    }
    const keySha256 = publicKeySha256(publicKey);
    this.#decide(shown, keySha256);
    return this.#turns.take(shown.device, () => this.#issue(shown, publicKey));
  }

  async #issue(shown: ShownCertificate, publicKey: KeyObject): Promise<Certificate> {
    const { site, clock, siteCa } = this.#deps;
    const keySha256 = publicKeySha256(publicKey);
    const { device } = shown;
    const { serial } = shown.certificate;
    const asked = { device, publicKeySha256: keySha256, replaces: serial };
    const given = await renewalOf(site.read, asked, clock.now());
    const before = given === undefined ? undefined : parseCertificate(given);
    // One that is due already, because its device was off since, would have it ask again at once, or not before it is over.
    if (before !== undefined && (!clock.trusted || clock.now() < renewalAt(before))) return before;
    const renews = await this.#renews(shown.certificate);
    const { renewingMs, otherMs } = this.#deps.policy().deviceCertificates;
    const lifetimeMs = renews ? renewingMs : otherMs;
    await this.#requireFew(device, lifetimeMs);
    // A clock that has lost its time must not make a certificate that was never valid.
    const at = Math.max(clock.now(), siteCa.certificate.notBefore);
    const certificate = await issueDevice(siteCa, publicKey, {
      device,
      now: at,
      lifetimeMs,
    });
    const write: Write = [
      registerCertificate({ device, certificate, at, replaces: shown.certificate, renews }),
      journalEntry(
        'audit',
        'certificate_issued',
        {
          device,
          issuer_key_id: certificate.extensions.authorityKeyId ?? '',
          serial: certificate.serial,
          expires_at: certificate.notAfter,
          replaces: serial,
        },
        clock.now(),
      ),
    ];
    await site.commit(write).catch((cause: unknown) => {
      if (!isHoldfastError(cause, 'STORE_CONFLICT')) throw cause;
      throw new HoldfastError('PEER_REFUSED', `the certificate of ${device} is revoked`, { cause });
    });
    return certificate;
  }

  #decide({ device, certificate }: ShownCertificate, publicKeySha256: string): void {
    const { clock, siteCa, known } = this.#deps;
    const decision = decideEnrolment(
      {
        now: clock.now(),
        isClockTrusted: clock.trusted,
        siteCaExpiresAt: siteCa.certificate.notAfter,
        claim: undefined,
        used: undefined,
        device: known,
      },
      { kind: 'certificate', device, serial: certificate.serial, expiresAt: certificate.notAfter },
      { device: undefined, model: undefined, publicKeySha256 },
    );
    if (decision.kind === 'refused') throw new HoldfastError(decision.code, decision.message);
  }

  /** Each leaves rows and an entry that is never dropped: a device that was taken over must not fill the disk with them. */
  async #requireFew(device: string, lifetimeMs: number): Promise<void> {
    const { site, clock } = this.#deps;
    const since = clock.now() - lifetimeMs / 2;
    if ((await issuedSince(site.read, device, since)) < mostInHalfALife) return;
    throw new HoldfastError(
      'TOO_MANY_ATTEMPTS',
      `${device} was given ${mostInHalfALife} certificates in the time in which it needs one`,
      { data: { retryAfterMs: lifetimeMs / 100 } },
    );
  }

  async #renews({ serial, notBefore, notAfter }: Certificate): Promise<boolean> {
    const row = await certificateOf(this.#deps.site.read, serial);
    if (row === undefined || row.renews === null) return notAfter - notBefore <= renewingAtMostMs;
    return row.renews === 1;
  }
}
