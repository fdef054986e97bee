/**
 * Keys in hardware through PKCS#11 (2.40): a P-256 key that is made in a token, signs there and cannot leave it. The package `pkcs11js`
 * is optional: only who uses a token needs it.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type * as Pkcs11 from 'pkcs11js';
import type { HardwareKey } from './signing-key.js';

export interface TokenOptions {
  /** The token's PKCS#11 library, as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly module: string;
  /** Label of the token. */
  readonly token: string;
  /** File with the user's PIN: never in a configuration, which is copied and shown. */
  readonly pinFile: string;
  /** Label of the key pair. */
  readonly key: string;
}

/** Session, and the private key in it. */
interface Session {
  readonly handle: Pkcs11.Handle;
  readonly privateKey: Pkcs11.Handle;
}

/** The key pair of this label, made in the token if there is none and `create` says so. Errors: KEY_INVALID. */
export const openTokenKey = async (
  options: TokenOptions,
  { create }: { readonly create: boolean },
): Promise<HardwareKey> => {
  const { default: library } = await import('pkcs11js').catch((cause: unknown) => {
    throw refused(options, 'the package pkcs11js is not installed: npm install pkcs11js', cause);
  });
  const pin = await readFile(options.pinFile, 'utf8').catch((cause: unknown) => {
    throw refused(options, `the PIN cannot be read from ${options.pinFile}`, cause);
  });
  const token = new Token(library, options, pin.trim());
  try {
    token.open(create);
    return token;
  } catch (error) {
    token.close();
    throw error instanceof HoldfastError ? error : refused(options, messageOf(error), error);
  }
};

class Token implements HardwareKey {
  readonly #library: typeof Pkcs11;
  readonly #options: TokenOptions;
  readonly #pin: string;
  readonly #module: Pkcs11.PKCS11;
  #session: Session | undefined;
  #publicKey: KeyObject | undefined;
  /** A session does one thing at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(library: typeof Pkcs11, options: TokenOptions, pin: string) {
    this.#library = library;
    this.#options = options;
    this.#pin = pin;
    this.#module = new library.PKCS11();
  }

  get publicKey(): KeyObject {
    if (this.#publicKey === undefined) throw refused(this.#options, 'it is not open');
    return this.#publicKey;
  }

  open(create: boolean): void {
    this.#module.load(this.#options.module);
    this.#ignoring('CKR_CRYPTOKI_ALREADY_INITIALIZED', () => this.#module.C_Initialize());
    this.#session = this.#begin(create);
  }

  sign(data: Uint8Array): Promise<Uint8Array> {
    const signed = this.#turn.then(() => this.#sign(data));
    this.#turn = signed.catch(() => undefined);
    return signed;
  }

  close(): void {
    this.#end();
    try {
      this.#module.close();
    } catch {
      // It was never loaded.
    }
  }

  async #sign(data: Uint8Array): Promise<Uint8Array> {
    const digest = createHash('sha256').update(data).digest();
    try {
      return await this.#signDigest(digest);
    } catch {
      // A token that was pulled out and put back knows neither session nor login: once more from the beginning.
      this.#end();
      try {
        return await this.#signDigest(digest);
      } catch (error) {
        throw new HoldfastError(
          'HARDWARE_KEY_FAILED',
          `The token "${this.#options.token}" does not sign: ${messageOf(error)}`,
          { cause: error },
        );
      }
    }
  }

  async #signDigest(digest: Buffer): Promise<Uint8Array> {
    this.#session ??= this.#begin(false);
    const { handle, privateKey } = this.#session;
    this.#module.C_SignInit(handle, { mechanism: this.#library.CKM_ECDSA }, privateKey);
    return this.#module.C_SignAsync(handle, digest, Buffer.alloc(64));
  }

  #begin(create: boolean): Session {
    const { CKF_RW_SESSION, CKF_SERIAL_SESSION, CKO_PRIVATE_KEY, CKU_USER } = this.#library;
    const flags = CKF_SERIAL_SESSION | (create ? CKF_RW_SESSION : 0);
    const handle = this.#module.C_OpenSession(this.#findSlot(), flags);
    this.#ignoring('CKR_USER_ALREADY_LOGGED_IN', () =>
      this.#module.C_Login(handle, CKU_USER, this.#pin),
    );
    const found = this.#find(handle, CKO_PRIVATE_KEY);
    if (found === undefined && !create) {
      throw refused(this.#options, `it holds no private key "${this.#options.key}"`);
    }
    const privateKey = found ?? this.#create(handle);
    this.#publicKey = this.#readPublicKey(handle);
    return { handle, privateKey };
  }

  #end(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    try {
      this.#module.C_CloseSession(session.handle);
    } catch {
      // The token is gone, and the session with it.
    }
  }

  #findSlot(): Pkcs11.Handle {
    const { token } = this.#options;
    const slots = this.#module.C_GetSlotList(true);
    const labels = slots.map((slot) => this.#module.C_GetTokenInfo(slot).label.trim());
    const slot = slots[labels.indexOf(token)];
    if (slot !== undefined) return slot;
    const others = labels.filter((label) => label !== '').join(', ') || 'none';
    throw refused(this.#options, `it is not there; tokens that are: ${others}`);
  }

  #find(handle: Pkcs11.Handle, objectClass: number): Pkcs11.Handle | undefined {
    const { CKA_CLASS, CKA_LABEL } = this.#library;
    this.#module.C_FindObjectsInit(handle, [
      { type: CKA_CLASS, value: objectClass },
      { type: CKA_LABEL, value: this.#options.key },
    ]);
    const found = this.#module.C_FindObjects(handle, 2);
    this.#module.C_FindObjectsFinal(handle);
    if (found.length > 1) {
      throw refused(this.#options, `it holds more than one key "${this.#options.key}"`);
    }
    return found[0];
  }

  #create(handle: Pkcs11.Handle): Pkcs11.Handle {
    const p = this.#library;
    const label = { type: p.CKA_LABEL, value: this.#options.key };
    const kept = { type: p.CKA_TOKEN, value: true };
    return this.#module.C_GenerateKeyPair(
      handle,
      { mechanism: p.CKM_EC_KEY_PAIR_GEN },
      [label, kept, { type: p.CKA_EC_PARAMS, value: prime256v1 }],
      [
        ...[label, kept],
        ...[p.CKA_PRIVATE, p.CKA_SENSITIVE, p.CKA_SIGN].map((type) => ({ type, value: true })),
        { type: p.CKA_EXTRACTABLE, value: false },
      ],
    ).privateKey;
  }

  #readPublicKey(handle: Pkcs11.Handle): KeyObject {
    const { CKA_EC_POINT, CKO_PUBLIC_KEY } = this.#library;
    const object = this.#find(handle, CKO_PUBLIC_KEY);
    if (object === undefined) {
      throw refused(this.#options, `it holds no public key "${this.#options.key}"`);
    }
    const [point] = this.#module.C_GetAttributeValue(handle, object, [{ type: CKA_EC_POINT }]);
    // A DER octet string around the uncompressed point (PKCS#11 2.40, 2.3.3).
    const value = Buffer.from(point?.value as Uint8Array).subarray(-65);
    return createPublicKey({
      key: Buffer.concat([p256Prefix, value]),
      format: 'der',
      type: 'spki',
    });
  }

  #ignoring(code: string, call: () => void): void {
    try {
      call();
    } catch (error) {
      if (!messageOf(error).includes(code)) throw error;
    }
  }
}

/** The curve as an object id in DER, and what stands before a point on it in a SubjectPublicKeyInfo (RFC 5480). */
const prime256v1 = Buffer.from('06082a8648ce3d030107', 'hex');
const p256Prefix = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');

const refused = ({ token }: TokenOptions, why: string, cause?: unknown) =>
  new HoldfastError('KEY_INVALID', `The token "${token}" cannot be used: ${why}`, { cause });
