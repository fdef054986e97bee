/** The first right to use the API: a token that is shown once, as a login code, and stored as a hash. */
import { formatLoginCode } from '@holdfast/provisioning/pki/login-code';
import type { SqlEngine } from '../store/sql-engine.js';
import { createToken, hashToken } from './caller.js';

export interface AdminLoginOptions {
  /** `host:port` of the API. */
  readonly address: string;
  readonly rootSha256: string;
  readonly now: number;
  /** Draws a new token in place of the one there is. */
  readonly renew: boolean;
  /** Gets the code before its token is valid, so that a crash between the two leaves none that nobody has. */
  readonly show: (loginCode: string) => Promise<void>;
}

const name = 'admin';

/** Makes the admin's token at the first start. */
export const ensureAdminLogin = async (
  engine: SqlEngine,
  { address, rootSha256, now, renew, show }: AdminLoginOptions,
): Promise<void> => {
  const known = await engine.read
    .selectFrom('tokens')
    .select('hash')
    .where('name', '=', name)
    .executeTakeFirst();
  if (known !== undefined && !renew) return;
  const token = createToken();
  await show(formatLoginCode({ kind: 'cloud', address, token, rootSha256 }));
  await engine.write(async ({ db }) => {
    await db.deleteFrom('tokens').where('name', '=', name).execute();
    await db
      .insertInto('tokens')
      .values({ hash: hashToken(token), name, created_at: now })
      .execute();
  });
};
