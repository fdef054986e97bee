/**
 * The keys and certificates of this device on its disk. What belongs together is named by one record, which is replaced as a whole, so
 * that a cut at any point leaves a key with its certificate:
 *
 * a new key has its file before the record names it as the next one; a certificate is only asked for then; and when it is here, one
 * write makes both the device's. A restart in between asks with the same key again, and gets the same certificate.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import {
  createKey,
  type KeyPair,
  privatePem,
  readKeyFile,
  writeKeyFile,
} from '@holdfast/provisioning/pki/keys';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import {
  type Credentials,
  type DeviceIdentity,
  firstKeyFile,
  openIdentityRecord,
} from './identity.js';
import type { Log } from './log.js';

/** A certificate, and the site CA's that issued it. */
export interface NewCertificate {
  readonly certificate: Certificate;
  readonly siteCa: Certificate;
}

const keyFilePattern = /^device[^/]*\.key(\.new)?$/;

export class DeviceKeys {
  readonly #dataDir: string;
  readonly #record: StoredRecord<DeviceIdentity | null>;
  readonly #log: Log;

  private constructor(dataDir: string, record: StoredRecord<DeviceIdentity | null>, log: Log) {
    this.#dataDir = dataDir;
    this.#record = record;
    this.#log = log;
  }

  /** Errors: NOT_ENROLLED, STORE_CORRUPT. */
  static async open(dataDir: string, log: Log): Promise<DeviceKeys> {
    const keys = new DeviceKeys(dataDir, await openIdentityRecord(dataDir, log), log);
    await keys.#sweep();
    return keys;
  }

  get identity(): DeviceIdentity {
    const { data } = this.#record;
    if (data === null) {
      throw new HoldfastError('NOT_ENROLLED', `${this.#dataDir} holds no identity`);
    }
    return data;
  }

  /** Errors: KEY_INVALID. */
  async credentials(): Promise<Credentials> {
    const { identity } = this;
    const key = await readKeyFile(join(this.#dataDir, identity.keyFile ?? firstKeyFile));
    return { identity, key: privatePem(key) };
  }

  /** The key to ask a certificate for: the same one until `adopt`, whatever happens in between. */
  async prepare(): Promise<KeyPair> {
    const { nextKeyFile } = this.identity;
    if (nextKeyFile !== undefined) {
      try {
        return await readKeyFile(join(this.#dataDir, nextKeyFile));
      } catch (error) {
        this.#log.warn({ err: error }, 'the key of a renewal cannot be read: another is made');
      }
    }
    const key = await createKey();
    const name = `device-${randomBytes(6).toString('hex')}.key`;
    await writeKeyFile(join(this.#dataDir, name), key);
    await this.#update((identity) => ({ ...identity, nextKeyFile: name }));
    return key;
  }

  /** Makes the prepared key and its certificate this device's; the pair before is kept beside them. */
  async adopt({ certificate, siteCa }: NewCertificate): Promise<Credentials> {
    await this.#update(({ nextKeyFile, ...identity }) => {
      if (nextKeyFile === undefined) throw new TypeError('no key was prepared');
      return {
        ...identity,
        certificate: certificate.pem,
        siteCa: siteCa.pem,
        keyFile: nextKeyFile,
        previous: {
          certificate: identity.certificate,
          keyFile: identity.keyFile ?? firstKeyFile,
        },
      };
    });
    await this.#sweep();
    return this.credentials();
  }

  #update(change: (identity: DeviceIdentity) => DeviceIdentity): Promise<void> {
    return this.#record.update((data) => {
      if (data === null) throw new HoldfastError('NOT_ENROLLED', 'there is no identity to renew');
      return change(data);
    });
  }

  /** Keys that a cut left without a record that names them, and those of certificates before the one before. */
  async #sweep(): Promise<void> {
    const { identity } = this;
    const { keyFile = firstKeyFile, nextKeyFile, previous } = identity;
    const kept = new Set([keyFile, nextKeyFile, previous?.keyFile]);
    for (const name of await readdir(this.#dataDir)) {
      if (!keyFilePattern.test(name) || kept.has(name)) continue;
      await rm(join(this.#dataDir, name), { force: true });
    }
  }
}
