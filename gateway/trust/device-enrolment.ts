/**
 * Enrols devices on site, WAN or not: a one-time code and a certificate request for a certificate of the site CA. The use of the code,
 * the certificate, the device and the journal entry are one commit; the answer leaves after it. Sent again with the same key, a code
 * gives the same certificate again, since the answer may have been lost.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ClaimsBody } from '@holdfast/protos/link/plan-documents';
import type { EnrolmentAnswer, EnrolmentRequest } from '@holdfast/protos/local/enrolment';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { createSecret, hashClaim } from '@holdfast/provisioning/pki/claim-code';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { type Authority, issueDevice } from '@holdfast/provisioning/pki/issue';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import { AttemptLimit } from './attempt-limit.js';
import { publicKeySha256, registerCertificate } from './certificate-register.js';

/** A device that is about to be enrolled. */
export interface AdmittedDevice {
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  readonly firmwareVersion: string | undefined;
}

export interface DeviceEnrolmentDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly siteCa: Authority;
  readonly root: Certificate;
  /** The codes that the plan has now. */
  readonly planClaims: () => ClaimsBody['codes'];
  /** The registry's part of the write; and what it does when that is committed. */
  readonly admit: (device: AdmittedDevice, at: number) => Write;
  readonly admitted: (device: AdmittedDevice, at: number) => void;
  readonly isKnown: (device: string) => boolean;
  /** Throws when this gateway may not write (it is fenced). */
  readonly requireWritable: () => void;
  readonly ports: () => EnrolmentAnswer['ports'];
}

export interface DeviceEnrolmentOptions {
  readonly fleet: string;
  readonly site: string;
}

interface Claim {
  readonly device_id: string | null;
  readonly expires_at: number;
}

interface UsedClaim {
  readonly device_id: string;
  readonly public_key_sha256: string;
  readonly certificate: string;
}

const longestClaimMs = 30 * 86_400_000;

export class DeviceEnrolment {
  readonly #deps: DeviceEnrolmentDependencies;
  readonly #options: DeviceEnrolmentOptions;
  /** Ten mistyped codes at once, then one every six seconds. */
  readonly #failures = new AttemptLimit({ burst: 10, refillMs: 6_000 });

  constructor(deps: DeviceEnrolmentDependencies, options: DeviceEnrolmentOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /**
   * Errors: CLAIM_UNKNOWN, CLAIM_USED, CLAIM_EXPIRED, CLAIM_CODE_INVALID, CERTIFICATE_REQUEST_INVALID, RESOURCE_EXISTS (the id is in
   * use), REQUEST_INVALID, TOO_MANY_ATTEMPTS, GATEWAY_FENCED, and those of the store.
   */
  async enrol(request: EnrolmentRequest, remoteAddress: string): Promise<EnrolmentAnswer> {
    const { clock } = this.#deps;
    const delayMs = this.#failures.delayMs(remoteAddress, clock.monotonic());
    if (delayMs > 0) {
      throw new HoldfastError(
        'TOO_MANY_ATTEMPTS',
        `too many codes that were wrong: try again in ${Math.ceil(delayMs / 1000)} s`,
        { data: { retryAfterMs: delayMs } },
      );
    }
    try {
      return await this.#enrol(request);
    } catch (error) {
      if (isHoldfastError(error) && !error.isRetryable) {
        this.#failures.failed(remoteAddress, clock.monotonic());
      }
      throw error;
    }
  }

  /** Makes a code's secret on site. Errors: REQUEST_INVALID, and those of the store. */
  async createClaim(
    deviceId: string | null,
    lifetimeMs: number,
  ): Promise<{ secret: string; expiresAt: number }> {
    if (deviceId !== null && !isDeviceId(deviceId)) throw noDeviceId(deviceId);
    if (!Number.isSafeInteger(lifetimeMs) || lifetimeMs <= 0 || lifetimeMs > longestClaimMs) {
      throw new HoldfastError('REQUEST_INVALID', 'a code lives at most 30 days');
    }
    const { site, clock, requireWritable } = this.#deps;
    requireWritable();
    const secret = createSecret();
    const now = clock.now();
    await site.commit([
      {
        sql: 'INSERT INTO claims_made (hash, device_id, created_at, expires_at) VALUES (?, ?, ?, ?)',
        params: [hashClaim(secret, this.#options.site), deviceId, now, now + lifetimeMs],
      },
    ]);
    return { secret, expiresAt: now + lifetimeMs };
  }

  async #enrol(request: EnrolmentRequest): Promise<EnrolmentAnswer> {
    this.#deps.requireWritable();
    const hash = hashClaim(request.secret, this.#options.site);
    const { publicKey } = await parseRequest(request.csr);
    const keySha256 = publicKeySha256(publicKey);
    const repeated = await this.#repeat(hash, keySha256);
    if (repeated !== undefined) return repeated;

    const claim = await this.#findClaim(hash);
    const device = this.#chooseId(claim, request);
    const { siteCa, clock, site, admit, admitted } = this.#deps;
    // A clock that has lost its time must not make a certificate that was never valid.
    const at = Math.max(clock.now(), siteCa.certificate.notBefore);
    const certificate = await issueDevice(siteCa, publicKey, { device, now: at });
    const admission: AdmittedDevice = {
      device,
      model: request.model,
      serialNo: request.serial_no ?? '',
      firmwareVersion: request.firmware_version,
    };
    try {
      await site.commit([
        {
          // Its primary key lets a code be used once, whoever else uses it at this moment.
          sql: 'INSERT INTO claims_used (hash, device_id, public_key_sha256, certificate, used_at) VALUES (?, ?, ?, ?, ?)',
          params: [hash, device, keySha256, certificate.pem, at],
        },
        { sql: 'DELETE FROM claims_made WHERE hash = ?', params: [hash] },
        // Two codes that leave the id to the device may be used for one id at the same moment.
        registerCertificate(
          { device, certificate, at },
          { onlyNewDevice: claim.device_id === null },
        ),
        ...admit(admission, at),
        journalEntry(
          'audit',
          'device_enrolled',
          {
            device,
            model: admission.model,
            serial_no: admission.serialNo,
            door: 'native',
            certificate_serial: certificate.serial,
            claim_hash: hash,
          },
          clock.now(),
        ),
      ]);
    } catch (error) {
      if (isHoldfastError(error, 'STORE_CONFLICT')) throw isInUse(device);
      if (!isHoldfastError(error, 'STORE_CONSTRAINT')) throw error;
      // Somebody used the code at the same moment; it was this device itself when the key is the same.
      const winner = await this.#repeat(hash, keySha256);
      if (winner !== undefined) return winner;
      throw error;
    }
    admitted(admission, at);
    return this.#answer(device, certificate.pem);
  }

  async #repeat(hash: string, keySha256: string): Promise<EnrolmentAnswer | undefined> {
    const used = await this.#deps.site.read.get<UsedClaim>(
      'SELECT device_id, public_key_sha256, certificate FROM claims_used WHERE hash = ?',
      [hash],
    );
    if (used === undefined) return undefined;
    if (used.public_key_sha256 !== keySha256) {
      throw new HoldfastError(
        'CLAIM_USED',
        `this code has enrolled ${used.device_id} already; ask for a new one`,
      );
    }
    return this.#answer(used.device_id, used.certificate);
  }

  async #findClaim(hash: string): Promise<Claim> {
    const { planClaims, site, clock } = this.#deps;
    const claim =
      planClaims().find((code) => code.hash === hash) ??
      (await site.read.get<Claim>('SELECT device_id, expires_at FROM claims_made WHERE hash = ?', [
        hash,
      ]));
    if (claim === undefined) {
      throw new HoldfastError(
        'CLAIM_UNKNOWN',
        'this site does not know the code. If it was made in the cloud while the WAN is down, make one here: holdfast --gateway device claim ID',
      );
    }
    if (clock.trusted && clock.now() > claim.expires_at) {
      throw new HoldfastError('CLAIM_EXPIRED', 'this code has expired; ask for a new one');
    }
    return claim;
  }

  #chooseId(claim: Claim, request: EnrolmentRequest): string {
    const device = claim.device_id ?? request.device_id;
    if (device === undefined) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        'this code leaves the id to the device: say which (holdfast-device enroll CODE --id ID)',
      );
    }
    if (!isDeviceId(device)) throw noDeviceId(device);
    if (request.device_id !== undefined && request.device_id !== device) {
      throw new HoldfastError('REQUEST_INVALID', `this code is for ${device} alone`);
    }
    // A code that names its device was made to replace it; any other may not take a name that is in use.
    if (claim.device_id === null && this.#deps.isKnown(device)) {
      throw isInUse(device);
    }
    return device;
  }

  #answer(device: string, certificate: string): EnrolmentAnswer {
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
}

const noDeviceId = (device: string): HoldfastError =>
  new HoldfastError(
    'REQUEST_INVALID',
    `'${device}' is no device id: 1 to 64 of letters, digits, _ and -`,
  );

const isInUse = (device: string): HoldfastError =>
  new HoldfastError(
    'RESOURCE_EXISTS',
    `there is a device ${device} already; take another id, or ask for a code for this one`,
  );
