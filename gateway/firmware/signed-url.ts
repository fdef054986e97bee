/**
 * Addresses of firmware for clients that have no certificate to show, or know nothing but how to fetch an address: an HMAC by a key of the
 * gateway says that this device may load this image until then.
 *
 * How long an address holds is counted by what can be relied on. With a clock that is trusted it is a date, which is not looked at while
 * nobody knows the time (DESIGN.md, "Time"). One that is made in doubt counts the machine's uptime instead, and ends with its boot: a date
 * that was guessed would hold for years, or have passed already, once the clock is set.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { StampingClock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import * as v from 'valibot';

export interface FirmwareUrlsDeps {
  readonly clock: StampingClock;
  readonly schedule: Schedule;
  readonly log: StoreLog;
}

export interface FirmwareUrlsOptions {
  /** Of the record with the keys. */
  readonly path: string;
}

/** What an address is good for. */
export interface FirmwareGrant {
  readonly device: string;
  readonly sha256: string;
}

export type SignedUrlRefusal = 'URL_MALFORMED' | 'URL_SIGNATURE_INVALID' | 'URL_EXPIRED';

export type SignedUrlDecision =
  | { readonly ok: true; readonly device: string }
  | { readonly ok: false; readonly reason: SignedUrlRefusal };

export interface FirmwareUrls {
  /** Path and query below the gateway's HTTPS address, good for so long, ms; at most `longestTtlMs`. */
  path(grant: FirmwareGrant, ttlMs: number): string;
  /** Whether the query of an address makes it good for this image now, and whose it is; undefined when it has no signature at all. */
  verify(sha256: string, query: URLSearchParams): SignedUrlDecision | undefined;
  /** Draws a new key when it is time; what the one before has signed holds on. */
  rotate(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Path of a firmware below the gateway's HTTPS address. */
export const firmwarePath = (sha256: string): string => `/firmware/sha256/${sha256}`;

export const longestTtlMs = 7 * 86_400_000;
/** The key before is kept as long as this one is the newest: longer than anything that it signed holds. */
const rotatedAfterMs = 30 * 86_400_000;

const keysSchema = v.object({
  /** The newest first; the one before still verifies. */
  keys: v.pipe(
    v.array(
      v.object({
        /** Hexadecimal. */
        key: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
        /** Epoch ms; null while nobody knew the time. */
        made_at: v.nullable(v.number()),
      }),
    ),
    v.maxLength(2),
  ),
});
type Keys = v.InferOutput<typeof keysSchema>;

/** Draws the first key, or a new one if that is due. */
export const openFirmwareUrls = async (
  deps: FirmwareUrlsDeps,
  { path }: FirmwareUrlsOptions,
): Promise<FirmwareUrls> => {
  const { clock, schedule, log } = deps;
  const record = await openRecord<Keys>({
    ...{ path, log, parse: v.parser(keysSchema), initial: { keys: [] } },
    now: () => clock.now(),
  });
  const rotate = (): Promise<void> => rotateKeys(record, clock);
  await rotate();
  const rotation = schedule('43 * * * *', () =>
    rotate().catch((err: unknown) => log.warn({ err }, 'a new key for addresses has to wait')),
  );

  return {
    path: ({ device, sha256 }, ttlMs) => {
      const expires = expiryOf(clock, Math.min(ttlMs, longestTtlMs));
      const [newest] = record.data.keys;
      const signature = signatureOf(newest?.key ?? '', device, sha256, expires);
      const query = new URLSearchParams({ device, expires, signature });
      return `${firmwarePath(sha256)}?${query}`;
    },

    verify: (sha256, query) => {
      const [given, device, expires] = ['signature', 'device', 'expires'].map((name) =>
        query.get(name),
      );
      if (given === null || given === undefined) return undefined;
      if (!device || !expires || !isExpiry.test(expires)) return refused('URL_MALFORMED');
      // Each is compared, whatever the others gave.
      const matches = record.data.keys.map(({ key }) =>
        isSame(signatureOf(key, device, sha256, expires), given),
      );
      if (!matches.includes(true)) return refused('URL_SIGNATURE_INVALID');
      return isOver(clock, expires) ? refused('URL_EXPIRED') : { ok: true, device };
    },

    rotate,
    close: () => rotation.stop(),
  };
};

const rotateKeys = async (record: StoredRecord<Keys>, clock: StampingClock): Promise<void> => {
  const [newest] = record.data.keys;
  const at = clock.trusted ? clock.now() : null;
  if (newest === undefined) {
    await record.update(() => ({ keys: [drawKey(at)] }));
    return;
  }
  if (at === null) return;
  if (newest.made_at === null) {
    // Its age counts from when somebody knew the time.
    await record.update(({ keys: [, ...older] }) => ({
      keys: [{ ...newest, made_at: at }, ...older],
    }));
    return;
  }
  if (at - newest.made_at >= rotatedAfterMs) {
    await record.update(({ keys: [before] }) => ({
      keys: [drawKey(at), ...(before === undefined ? [] : [before])],
    }));
  }
};

const drawKey = (made_at: number | null): Keys['keys'][number] => ({
  key: randomBytes(32).toString('hex'),
  made_at,
});

/** Epoch seconds, or seconds of uptime and the boot that they count from. */
const isExpiry = /^(?:\d{1,12}|up\d{1,12}\.[0-9A-Za-z-]{1,64})$/;

const expiryOf = (clock: StampingClock, ttlMs: number): string =>
  clock.trusted
    ? String(Math.floor((clock.now() + ttlMs) / 1_000))
    : `up${Math.floor((clock.monotonic() + ttlMs) / 1_000)}.${clock.boot}`;

const isOver = (clock: StampingClock, expires: string): boolean => {
  if (!expires.startsWith('up')) return clock.trusted && clock.now() >= Number(expires) * 1_000;
  const end = expires.indexOf('.');
  const isOfThisBoot = expires.slice(end + 1) === clock.boot;
  return !isOfThisBoot || clock.monotonic() >= Number(expires.slice(2, end)) * 1_000;
};

/** No field can hold what ends it: a digest, what `isExpiry` takes, and the rest is the device. */
const signatureOf = (key: string, device: string, sha256: string, expires: string): string =>
  createHmac('sha256', Buffer.from(key, 'hex'))
    .update(`holdfast firmware url\n${sha256}\n${expires}\n${device}`)
    .digest('base64url');

const isSame = (expected: string, given: string): boolean => {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
};

const refused = (reason: SignedUrlRefusal): SignedUrlDecision => ({ ok: false, reason });
