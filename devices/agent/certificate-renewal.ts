/**
 * Renews this device's certificate at about half of its life, without anybody's help and without a dropped session: a new key, a new
 * certificate from the gateway, both kept, then the session goes over to a connection made with them.
 *
 * What fails is tried again, with backoff, for as long as there is time; the session goes on with the certificate it has. A device that
 * was off past its expiry asks all the same: the gateway takes an expired certificate for 90 days for this alone.
 */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { renewalAt } from '@holdfast/provisioning/pki/renewal-time';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import type { DeviceKeys } from './device-keys.js';
import { reEnrol } from './est-client.js';
import type { GatewayTrust } from './gateway-trust.js';
import type { Log } from './log.js';
import type { DeviceSession } from './session.js';

export interface RenewalDeps {
  readonly keys: DeviceKeys;
  readonly trust: GatewayTrust;
  readonly session: Pick<DeviceSession, 'gateway' | 'isConnected' | 'isOutdated' | 'takeOver'>;
  /** Epoch ms: the gateway's time where it is known. */
  readonly now: () => number;
  /** Milliseconds that never run back; `performance.now`. */
  readonly monotonic?: () => number;
  readonly log: Log;
  readonly wait?: Wait;
  readonly entropy?: () => number;
}

/** How often it is looked at whether a renewal is due: clocks are set meanwhile. */
const lookEveryMs = 60_000;
const firstRetryMs = 15_000;
const mostRetryMs = 3_600_000;
const leastRetryMs = 250;
/** A device that knows no time and finds no way in may have a certificate that expired. */
const lockedOutAfterMs = 60_000;

export class CertificateRenewal {
  readonly #deps: RenewalDeps;
  readonly #wait: Wait;
  readonly #closing = new AbortController();
  readonly #monotonic: () => number;
  #certificate: Certificate;
  /** When the certificate came, by the monotonic clock; null for one that was there at the start. */
  #gotAt: number | null = null;
  /** Whether its dates can be gone by: by our clock they made sense when it came. */
  #isDated = true;
  #wasFresh = true;
  #outSince: number | null = null;
  #running: Promise<void> | null = null;

  constructor(deps: RenewalDeps) {
    this.#deps = deps;
    this.#wait = deps.wait ?? wait;
    this.#monotonic = deps.monotonic ?? (() => performance.now());
    this.#certificate = parseCertificate(deps.keys.identity.certificate);
  }

  open(): void {
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#closing.signal.aborted) throw error;
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { log, entropy } = this.#deps;
    const retries = () => {
      const mostMs = this.#mostRetryMs;
      return backoff({
        firstMs: Math.min(firstRetryMs, mostMs),
        mostMs,
        ...(entropy && { entropy }),
      });
    };
    let delays = retries();
    while (!signal.aborted) {
      try {
        const dueInMs = this.#dueInMs();
        if (dueInMs > 0) {
          await this.#wait(Math.min(dueInMs, lookEveryMs, this.#mostRetryMs), signal);
          continue;
        }
        await this.#step(signal);
        delays = retries();
      } catch (error) {
        if (signal.aborted) return;
        const asked = isHoldfastError(error) ? error.data.retryAfterMs : undefined;
        const delayMs = Math.max(
          delays.next().value ?? mostRetryMs,
          typeof asked === 'number' ? asked : 0,
        );
        const expiresAt = new Date(this.#certificate.notAfter).toISOString();
        log.warn(
          { ...(isHoldfastError(error) && { code: error.code }), expiresAt, delayMs },
          `the certificate could not be renewed: ${messageOf(error)}`,
        );
        await this.#wait(delayMs, signal);
      }
    }
  }

  /** Milliseconds until there is something to do; 0 or less when there is. */
  #dueInMs(): number {
    const { session } = this.#deps;
    if (session.isOutdated) return 0;
    const { notBefore } = this.#certificate;
    const now = this.#deps.now();
    const dueAt = renewalAt(this.#certificate);
    if (now >= notBefore && (now < dueAt || this.#isDated)) return dueAt - now;
    if (!session.isConnected || this.#gotAt === null) return this.#lockedOutInMs();
    // A gateway that lost its time gives certificates that are over by our clock. It lets us in with them, so their age is what counts.
    return this.#gotAt + (dueAt - notBefore) - this.#monotonic();
  }

  /** Without a clock, not being let in is the only sign of a certificate that expired. */
  #lockedOutInMs(): number {
    if (this.#deps.session.isConnected) {
      this.#outSince = null;
      return lookEveryMs;
    }
    this.#outSince ??= this.#monotonic();
    return this.#outSince + lockedOutAfterMs - this.#monotonic();
  }

  /**
   * One that is due when it comes may be of an answer that came late: it is renewed at once. Two of them in a row say that the gateway's
   * clock is another.
   */
  #noteDates(): void {
    const { notBefore, notAfter } = this.#certificate;
    const now = this.#deps.now();
    const isFresh = now >= notBefore && now < renewalAt(this.#certificate);
    this.#isDated = isFresh || (this.#wasFresh && now >= notBefore && now < notAfter);
    this.#wasFresh = isFresh;
  }

  /** Within a short life there has to be time for several attempts. */
  get #mostRetryMs(): number {
    const { notBefore, notAfter } = this.#certificate;
    return Math.min(mostRetryMs, Math.max(leastRetryMs, (notAfter - notBefore) / 24));
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { keys, trust, session, log } = this.#deps;
    if (!session.isOutdated) {
      const key = await keys.prepare();
      const { identity } = keys;
      const { gateway } = session;
      const renewed = await reEnrol(trust, { gateway, identity, key, signal });
      trust.adopt(await keys.adopt(renewed));
      this.#certificate = renewed.certificate;
      this.#gotAt = this.#monotonic();
      this.#noteDates();
      // Should it not have been the certificate that kept this device out, the next is not asked for at once.
      this.#outSince = this.#gotAt + this.#mostRetryMs;
      const expiresAt = new Date(renewed.certificate.notAfter).toISOString();
      log.info({ serial: renewed.certificate.serial, expiresAt }, 'the certificate is renewed');
    }
    await session.takeOver();
  }
}
