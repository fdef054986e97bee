/**
 * Enrols devices on site, WAN or not: a code or the certificate of its manufacturer, and a certificate request, for a certificate of
 * the site CA. The use of the proof, the certificate, the device and the journal entry are one commit; the answer leaves after
 * it. Sent again with the same key, the same proof gives the same certificate again, since the answer may have been lost.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SitePolicy } from '@holdfast/protos/link/site-policy';
import type { EnrolmentAnswer, EnrolmentRequest } from '@holdfast/protos/local/enrolment';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { hashClaim } from '@holdfast/provisioning/pki/claim-code';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { type Authority, issueDevice } from '@holdfast/provisioning/pki/issue';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SiteStore } from '../store/site-store.js';
import {
  publicKeySha256,
  type RegisteredCertificate,
  withCertificatesOf,
} from './certificate-register.js';
import {
  decideEnrolment,
  type EnrolmentGrant,
  type EnrolmentRefusal,
  type EnrolmentWish,
  idInUse,
  type KnownDevice,
  reEnrolmentGraceMs,
} from './decide-enrolment.js';
import { EnrolmentLimits } from './enrolment-limits.js';
import {
  type AdmittedDevice,
  type Enrolment,
  type Proof,
  readUse,
  type StoredUse,
  writeEnrolment,
} from './enrolment-write.js';
import type { Manufacturers } from './manufacturers.js';
import type { PairingWindow } from './pairing-window.js';
import type { Revocations } from './revocations.js';
import type { SiteClaims } from './site-claims.js';
import { removeTargetToken } from './target-token-rows.js';

export interface DeviceEnrolmentDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly siteCa: Authority;
  readonly root: Certificate;
  readonly claims: Pick<SiteClaims, 'find' | 'used'>;
  readonly manufacturers: Pick<Manufacturers, 'prove'>;
  /** Where the certificate of a manufacturer is not enough by itself. */
  readonly pairing?: Pick<PairingWindow, 'admit'>;
  readonly revocations: Pick<Revocations, 'decide' | 'take' | 'writeOf'>;
  /** The registry's part of the write; and what it does when that is committed. */
  readonly admit: (device: AdmittedDevice, at: number) => Write;
  readonly admitted: (device: AdmittedDevice, at: number) => void;
  readonly known: (device: string) => KnownDevice | undefined;
  readonly lifetimes: () => SitePolicy['deviceCertificates'];
  /** Throws when this gateway may not write (it is fenced). */
  readonly requireWritable: () => void;
  readonly ports: () => EnrolmentAnswer['ports'];
}

export interface DeviceEnrolmentOptions {
  readonly fleet: string;
  readonly site: string;
}

/** What a door makes of a request. */
export interface CertificateWanted {
  /** The secret part of a code; where there is none, the certificate of the manufacturer has to do. */
  readonly secret?: string | undefined;
  /** The chain in DER that the device presented to TLS, its own certificate first; may be empty. */
  readonly presented: readonly Uint8Array[];
  /** PKCS#10, PEM or DER. */
  readonly csr: Uint8Array | string;
  /** The id it gives itself. */
  readonly device?: string | undefined;
  readonly model?: string | undefined;
  readonly serialNo?: string | undefined;
  readonly firmwareVersion?: string | undefined;
  /** Whether it renews by itself, and so gets a certificate that lives for days instead of a year. */
  readonly renews?: boolean | undefined;
  readonly remoteAddress: string;
}

export interface Certified {
  readonly device: string;
  /** PEM. */
  readonly certificate: string;
}

interface Granted {
  readonly grant: EnrolmentGrant;
  readonly used: StoredUse | undefined;
}

export class DeviceEnrolment {
  readonly #deps: DeviceEnrolmentDependencies;
  readonly #options: DeviceEnrolmentOptions;
  readonly #limits: EnrolmentLimits;

  constructor(deps: DeviceEnrolmentDependencies, options: DeviceEnrolmentOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#limits = new EnrolmentLimits(deps.clock);
  }

  /** `certify` as the agent's own request has it. Errors: those of `certify`. */
  async enrol(
    request: EnrolmentRequest,
    remoteAddress: string,
    presented: readonly Uint8Array[] = [],
  ): Promise<EnrolmentAnswer> {
    const { device, certificate } = await this.certify({
      secret: request.secret,
      presented,
      csr: request.csr,
      device: request.device_id,
      model: request.model,
      serialNo: request.serial_no,
      firmwareVersion: request.firmware_version,
      renews: request.renews,
      remoteAddress,
    });
    const { siteCa, root, ports } = this.#deps;
    return {
      fleet: this.#options.fleet,
      site: this.#options.site,
      device_id: device,
      certificate,
      site_ca: siteCa.certificate.pem,
      root: root.pem,
      ports: ports(),
    };
  }

  /**
   * Resolves after the commit. Errors: those that `decideEnrolment` refuses with, CERTIFICATE_REQUEST_INVALID, CLAIM_CODE_INVALID,
   * GATEWAY_FENCED, NOT_AUTHENTICATED (neither code nor certificate), TOO_MANY_ATTEMPTS, and those of the store.
   */
  certify(wanted: CertificateWanted): Promise<Certified> {
    return this.#limits.guard(wanted.remoteAddress, () => this.#certify(wanted));
  }

  async #certify(wanted: CertificateWanted): Promise<Certified> {
    this.#deps.requireWritable();
    const proof = this.#proofOf(wanted);
    const { publicKey } = await parseRequest(wanted.csr);
    const wish: EnrolmentWish = {
      device: wanted.device,
      model: wanted.model,
      publicKeySha256: publicKeySha256(publicKey),
    };
    const decided = await this.#decide(proof, wish);
    if ('certificate' in decided) return decided;
    const { grant } = decided;
    const { siteCa, clock } = this.#deps;
    // A clock that has lost its time must not make a certificate that was never valid.
    const at = Math.max(clock.now(), siteCa.certificate.notBefore);
    const { renews = false } = wanted;
    const { renewingMs, otherMs } = this.#deps.lifetimes();
    const certificate = await issueDevice(siteCa, publicKey, {
      device: grant.device,
      now: at,
      lifetimeMs: renews ? renewingMs : otherMs,
    });
    const admission: AdmittedDevice = {
      device: grant.device,
      model: grant.model,
      serialNo: wanted.serialNo ?? (proof.kind === 'manufacturer' ? proof.name : ''),
      firmwareVersion: wanted.firmwareVersion,
    };
    try {
      const { used } = decided;
      const { pairing } = this.#deps;
      const commit = () => this.#commit(grant, { proof, used, admission, certificate, at, renews });
      await (proof.kind === 'manufacturer' && pairing !== undefined
        ? pairing.admit(commit)
        : commit());
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_CONFLICT')) throw error;
      // Somebody used the proof or took the id at the same moment; it was this device itself when the key is the same.
      const now = await this.#decide(proof, wish);
      if ('certificate' in now) return now;
      throw grant.mayBeInUse ? error : toError(idInUse(grant.device));
    }
    this.#deps.admitted(admission, at);
    return { device: grant.device, certificate: certificate.pem };
  }

  /** What is granted, or what was granted before. Throws what is refused. */
  async #decide(proof: Proof, wish: EnrolmentWish): Promise<Granted | Certified> {
    const { site, clock, siteCa, claims, known } = this.#deps;
    const used = await readUse(site.read, proof.hash);
    const decision = decideEnrolment(
      {
        now: clock.now(),
        isClockTrusted: clock.trusted,
        siteCaExpiresAt: siteCa.certificate.notAfter,
        claim: proof.kind === 'code' ? await claims.find(proof.hash) : undefined,
        used,
        device: known,
      },
      proof,
      wish,
    );
    if (decision.kind === 'refused') throw toError(decision);
    if (decision.kind === 'granted') return { grant: decision, used };
    return { device: decision.device, certificate: used?.certificate ?? '' };
  }

  async #commit({ mayBeInUse }: EnrolmentGrant, enrolment: Enrolment): Promise<void> {
    const { site, clock, claims, revocations, admit } = this.#deps;
    const { proof, admission, at } = enrolment;
    const isUsable = ({ expiresAt }: RegisteredCertificate): boolean =>
      !clock.trusted || expiresAt + reEnrolmentGraceMs > at;
    await withCertificatesOf(site.read, admission.device, async (former, asRead) => {
      // Whoever gets the id, by a code that replaces its device or because that is gone: what its predecessor can still use may not be
      // used beside it.
      const revoked = revocations.decide(former.filter(isUsable), {
        reason: 'superseded',
        actor: 'site:enrolment',
      });
      await site.commit([
        asRead,
        ...writeEnrolment(enrolment, { onlyNewDevice: !mayBeInUse, now: clock.now() }),
        claims.used(proof.hash),
        ...admit(admission, at),
        removeTargetToken(admission.device),
        ...revocations.writeOf(revoked),
      ]);
      revocations.take(revoked);
    });
  }

  #proofOf({ secret, presented }: CertificateWanted): Proof {
    if (secret !== undefined) return { kind: 'code', hash: hashClaim(secret, this.#options.site) };
    if (presented.length > 0) return this.#deps.manufacturers.prove(presented);
    throw new HoldfastError(
      'NOT_AUTHENTICATED',
      'this needs a code, or the certificate of a manufacturer that the site knows',
      { data: { next: 'Ask for a code: holdfast device claim ID' } },
    );
  }
}

const toError = ({ code, message }: EnrolmentRefusal) => new HoldfastError(code, message);
