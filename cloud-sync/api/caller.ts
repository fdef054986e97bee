/** Who asks: found by the bearer token, of which only the hash is stored. */
import { createHash, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SqlEngine } from '../store/sql-engine.js';

export interface Caller {
  /** The token's name. */
  readonly name: string;
}

/** Who wrote, as shadows and their history name it. */
export const writerOf = (caller: Caller | undefined): string =>
  `cloud:${(caller?.name ?? 'unknown').slice(0, 200)}`;

/** A new token: 256 random bits, so a plain hash of it tells nobody anything. */
export const createToken = (): string => `hft_${randomBytes(32).toString('base64url')}`;

export const hashToken = (token: string): string =>
  createHash('sha256').update(token).digest('hex');

/** Errors: NOT_AUTHENTICATED. */
export const authenticateWith =
  (engine: SqlEngine) =>
  async (authorization: string | undefined): Promise<Caller> => {
    const token = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) {
      throw new HoldfastError(
        'NOT_AUTHENTICATED',
        'This needs a token: send the metadata "authorization: Bearer TOKEN", or log in with holdfast',
      );
    }
    const row = await engine.read
      .selectFrom('tokens')
      .select('name')
      .where('hash', '=', hashToken(token))
      .executeTakeFirst();
    if (row !== undefined) return { name: row.name };
    throw new HoldfastError('NOT_AUTHENTICATED', 'This token is not known here');
  };
