/** The token with which people use the local API: drawn at enrolment, shown once, stored as a hash. 256 random bits need no slow hash. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';

export const createOperatorToken = (): string => `hfo_${randomBytes(32).toString('base64url')}`;

/** Hexadecimal. */
export const hashOperatorToken = (token: string): string =>
  createHash('sha256').update(token).digest('hex');

export const isOperatorToken = (token: string, sha256: string): boolean => {
  const given = Buffer.from(hashOperatorToken(token), 'hex');
  const known = Buffer.from(sha256, 'hex');
  return given.length === known.length && timingSafeEqual(given, known);
};

const drawnSchema = v.object({
  /** SHA-256 of the token, hexadecimal. */
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  /** Epoch ms. */
  drawn_at: v.number(),
});
type DrawnToken = v.InferOutput<typeof drawnSchema>;

const fileOf = (dataDirectory: string): string => join(dataDirectory, 'operator-token.json');

/** The token that was drawn after the enrolment, in a record of its own: the gateway writes the one of its identity while it runs. */
export const openDrawnToken = (
  dataDirectory: string,
  log: StoreLog,
): Promise<StoredRecord<DrawnToken | null>> =>
  openRecord<DrawnToken | null>({
    path: fileOf(dataDirectory),
    parse: v.parser(v.nullable(drawnSchema)),
    initial: null,
    log,
  });

/**
 * The hash of the token that counts now: one that is drawn by another process while this one runs counts at once, and the one before no
 * more. `enrolled` is that of the enrolment. The file is replaced as a whole, so that it can be read at any time. Throws STORE_CORRUPT
 * when it cannot be: no token counts then.
 */
export const watchOperatorToken = (dataDirectory: string, enrolled: string): (() => string) => {
  const path = fileOf(dataDirectory);
  let version: string | undefined;
  let sha256 = enrolled;
  return () => {
    const found = statSync(path, { throwIfNoEntry: false });
    const next = found && `${found.ino} ${found.mtimeMs}`;
    if (next === version || next === undefined) return sha256;
    sha256 = readDrawn(path);
    version = next;
    return sha256;
  };
};

/** A token that was declared void must not count again because the file that says so cannot be read. */
const readDrawn = (path: string): string => {
  try {
    return v.parse(drawnSchema, JSON.parse(readFileSync(path, 'utf8'))).sha256;
  } catch (cause) {
    throw new HoldfastError(
      'STORE_CORRUPT',
      `${path} cannot be read (${messageOf(cause)}): draw a new token with holdfast-gateway login-code`,
      { cause },
    );
  }
};
