/**
 * Slows down who guesses passwords, and never shuts anybody out for good. The rule:
 *
 * - An attempt counts as failed from when it begins until it has succeeded, so many at once gain nothing.
 * - Where a user was tried from one address five times in vain, the next attempt waits 1 s, then twice as long each time, up to 5 minutes.
 *   An hour without a failure forgets it all, and a success at once. An attempt that has to wait is not looked at and makes nothing longer.
 * - An address that tried users of all kinds 20 times in vain waits likewise.
 * - A user is never locked as such: at another address he has attempts of his own. When 50 attempts at one user failed within the hour,
 *   whatever their addresses, each further address has one free attempt instead of five.
 * - Whoever shows a token of an earlier session of this user is counted by that and not by the address, so that somebody behind the same
 *   address cannot keep him out. The holder of the operator token needs no password at all.
 */
export interface SignInLimitOptions {
  readonly freeAttempts?: number;
  readonly freeOfAddress?: number;
  readonly firstWaitMs?: number;
  readonly mostWaitMs?: number;
  readonly forgetMs?: number;
  /** Failures of one user from which on addresses that are new to it have one free attempt. */
  readonly alarm?: number;
  /** Counts kept at most; the one that failed longest ago is forgotten first. */
  readonly maxCounts?: number;
}

/** Where an attempt comes from: an address, or a client that is known by an earlier token. */
export interface Origin {
  readonly address: string;
  readonly client?: string | undefined;
}

interface Count {
  failures: number;
  waitUntil: number;
  failedAt: number;
}

export class SignInLimit {
  readonly #options: Required<SignInLimitOptions>;
  /** In the order of the last failure. */
  readonly #counts = new Map<string, Count>();

  constructor(options: SignInLimitOptions = {}) {
    this.#options = {
      freeAttempts: 5,
      freeOfAddress: 20,
      firstWaitMs: 1_000,
      mostWaitMs: 300_000,
      forgetMs: 3_600_000,
      alarm: 50,
      maxCounts: 20_000,
      ...options,
    };
  }

  /** Begins an attempt, unless it has to wait: then for how long, ms. `now` by a clock that never runs back. */
  begin(
    user: string,
    origin: Origin,
    now: number,
  ): { readonly waitMs: number; readonly failures: number } {
    const { freeAttempts, freeOfAddress, alarm } = this.#options;
    const own = ownKey(user, origin);
    const everywhere = userKey(user);
    const isAlarmed = origin.client === undefined && this.#failures(everywhere, now) >= alarm;
    const keys = origin.client === undefined ? [own, addressKey(origin)] : [own];
    const waitMs = Math.max(...keys.map((key) => this.#waitOf(key, now)));
    if (waitMs > 0) return { waitMs, failures: this.#failures(own, now) };
    this.#fail(own, isAlarmed ? 1 : freeAttempts, now);
    if (origin.client === undefined) {
      this.#fail(addressKey(origin), freeOfAddress, now);
      this.#fail(everywhere, Number.POSITIVE_INFINITY, now);
    }
    return { waitMs: 0, failures: this.#failures(own, now) };
  }

  /** The attempt that began was right: what it was counted for is taken back, and what this origin failed before is forgiven. */
  succeeded(user: string, origin: Origin): void {
    this.#counts.delete(ownKey(user, origin));
    if (origin.client !== undefined) return;
    for (const key of [addressKey(origin), userKey(user)]) {
      const count = this.#counts.get(key);
      if (count === undefined) continue;
      count.failures -= 1;
      count.waitUntil = 0;
      if (count.failures <= 0) this.#counts.delete(key);
    }
  }

  /** The attempt was not looked at after all. */
  takeBack(user: string, origin: Origin): void {
    for (const key of [ownKey(user, origin), addressKey(origin), userKey(user)]) {
      const count = this.#counts.get(key);
      if (count !== undefined && --count.failures <= 0) this.#counts.delete(key);
      if (origin.client !== undefined) return;
    }
  }

  #fail(key: string, free: number, now: number): void {
    const { firstWaitMs, mostWaitMs, maxCounts } = this.#options;
    const failures = this.#failures(key, now) + 1;
    const waitMs =
      failures < free ? 0 : Math.min(firstWaitMs * 2 ** Math.min(failures - free, 30), mostWaitMs);
    this.#counts.delete(key);
    this.#counts.set(key, { failures, waitUntil: now + waitMs, failedAt: now });
    if (this.#counts.size <= maxCounts) return;
    const [oldest] = this.#counts.keys();
    if (oldest !== undefined) this.#counts.delete(oldest);
  }

  #failures(key: string, now: number): number {
    const count = this.#counts.get(key);
    return count === undefined || now - count.failedAt >= this.#options.forgetMs
      ? 0
      : count.failures;
  }

  #waitOf(key: string, now: number): number {
    return Math.max(0, (this.#counts.get(key)?.waitUntil ?? 0) - now);
  }
}

const ownKey = (user: string, { address, client }: Origin): string =>
  client === undefined ? `a ${address} ${user}` : `c ${client} ${user}`;
const addressKey = ({ address }: Origin): string => `a ${address}`;
const userKey = (user: string): string => `u ${user}`;

/** What one household or host has of addresses: all of IPv4, the first 64 bits of IPv6. */
export const originAddress = (remoteAddress: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress)?.[1];
  if (mapped !== undefined) return mapped;
  if (!remoteAddress.includes(':')) return remoteAddress;
  const [head = '', tail] = (remoteAddress.split('%')[0] ?? '').split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array.from({ length: zeros }, () => '0'), ...after];
  return `${all.slice(0, 4).join(':')}::/64`;
};
