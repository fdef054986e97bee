/**
 * Tokens for clients of hawkBit's device interface that have no certificate: `Authorization: TargetToken …`. One is made by a person at
 * the site for one device, is shown once, and is good until it is revoked, made anew, or its device is replaced, retired or deleted. It
 * has 128 random bits, so that its plain SHA-256 may be kept. Making one enrols a device that the site does not know.
 */
import { createHash, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { toBase32 } from '@holdfast/provisioning/pki/base32';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Device } from '../devices/device.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import type { AdmittedDevice } from './enrolment-write.js';
import {
  readTargetTokens,
  removeTargetToken,
  type TargetTokenRow,
  writeTargetToken,
} from './target-token-rows.js';

export interface TargetTokensDeps {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly devices: {
    get(device: string): Device | undefined;
    /** The registry's part of the write; and what it does when that is committed. */
    readonly admit: (device: AdmittedDevice, at: number) => Write;
    readonly admitted: (device: AdmittedDevice, at: number) => void;
  };
  /** Throws when this gateway may not write, or may enrol nobody now. */
  readonly requireWritable: (what: 'token' | 'enrolment') => void;
}

export interface WantedToken {
  readonly device: string;
  /** What it is, of a device that is not known; one that is known has said it. */
  readonly model: string | null;
  /** As `site:anna`. */
  readonly actor: string;
}

export interface MadeToken {
  readonly token: string;
  /** Whether it took the place of another. */
  readonly replaced: boolean;
  /** Whether the device is enrolled by it. */
  readonly enrolled: boolean;
}

const tokenBytes = 16;
const form = /^hft_[0-9a-z]{26}$/;

export class TargetTokens {
  readonly #deps: TargetTokensDeps;
  /** By the SHA-256 of the token. */
  readonly #byHash = new Map<string, TargetTokenRow>();
  readonly #byDevice = new Map<string, TargetTokenRow>();

  private constructor(deps: TargetTokensDeps, rows: readonly TargetTokenRow[]) {
    this.#deps = deps;
    for (const row of rows) this.#take(row);
  }

  static async open(deps: TargetTokensDeps): Promise<TargetTokens> {
    return new TargetTokens(deps, await deps.site.read.all<TargetTokenRow>(readTargetTokens));
  }

  /** The device whose token this is. It says nothing of whether the device is in service. */
  find(token: string): string | undefined {
    return form.test(token) ? this.#byHash.get(hashOf(token))?.device : undefined;
  }

  of(device: string): Pick<TargetTokenRow, 'madeAt' | 'madeBy'> | undefined {
    return this.#byDevice.get(device);
  }

  /** Resolves after the commit. Errors: REQUEST_INVALID (a new device needs a model), GATEWAY_FENCED, and those of the store. */
  async make({ device, model, actor }: WantedToken): Promise<MadeToken> {
    const { site, clock, devices, requireWritable } = this.#deps;
    const known = devices.get(device);
    const isNew = known === undefined || known.lifecycle.state === 'retired';
    requireWritable(isNew ? 'enrolment' : 'token');
    if (isNew && model === null) {
      throw new HoldfastError('REQUEST_INVALID', `${device} is new here: say which model it is`, {
        data: { next: `holdfast --gateway device token ${device} --model MODEL` },
      });
    }
    const token = `hft_${toBase32(randomBytes(tokenBytes))}`;
    const at = clock.now();
    const row: TargetTokenRow = { device, sha256: hashOf(token), madeAt: at, madeBy: actor };
    const admission: AdmittedDevice | undefined = isNew
      ? {
          ...{ device, model: model ?? '', serialNo: '', firmwareVersion: undefined },
          door: 'ddi',
        }
      : undefined;
    await site.commit([
      ...(admission === undefined ? [] : this.#enrolment(admission, at)),
      ...writeTargetToken(row),
    ]);
    if (admission !== undefined) devices.admitted(admission, at);
    const replaced = this.#byDevice.has(device);
    this.#take(row);
    return { token, replaced, enrolled: isNew };
  }

  /** It holds no longer when this is called, and is gone when it resolves. Errors: RESOURCE_NOT_FOUND, and those of the store. */
  async revoke(device: string, actor: string): Promise<void> {
    const { site, clock } = this.#deps;
    if (!this.#byDevice.has(device)) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `${device} has no token`);
    }
    const removal = removeTargetToken(device);
    const body = { device, action: 'revoked', actor } as const;
    const row = this.#byDevice.get(device);
    this.forget(device);
    try {
      await site.commit([removal, journalEntry('audit', 'target_token', body, clock.now())]);
    } catch (error) {
      // Whoever asked is told that it stands, so that it does.
      if (row !== undefined && !this.#byDevice.has(device)) this.#take(row);
      throw error;
    }
  }

  /** Its device was replaced, or is gone: `removeTargetToken` was part of that write. */
  forget(device: string): void {
    const row = this.#byDevice.get(device);
    if (row === undefined) return;
    this.#byDevice.delete(device);
    this.#byHash.delete(row.sha256);
  }

  #take(row: TargetTokenRow): void {
    this.forget(row.device);
    this.#byDevice.set(row.device, row);
    this.#byHash.set(row.sha256, row);
  }

  #enrolment(admission: AdmittedDevice, at: number): Write {
    const { device, model, serialNo } = admission;
    return [
      ...this.#deps.devices.admit(admission, at),
      journalEntry(
        'audit',
        'device_enrolled',
        {
          ...{ device, model, door: 'ddi', serial_no: serialNo },
          ...{ certificate_serial: null, claim_hash: null },
        },
        at,
      ),
    ];
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
