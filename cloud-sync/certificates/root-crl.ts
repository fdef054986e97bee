/** The root's revocation list: signed when something of the root's was revoked, and monthly; carried to the sites in their plans. */

import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import { createCrl, crlDer } from '@holdfast/provisioning/pki/crl';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import type { PublicFile } from '../api/https-server.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';

export interface RootCrlDependencies {
  readonly engine: SqlEngine;
  readonly root: Authority;
  readonly plans: Pick<PlanPublisher, 'request'>;
  readonly now: () => number;
}

const dayMs = 86_400_000;
/** A site may be cut off for long, and its whole chain would fail with a list of the root that has run out. */
const lifetimeMs = 365 * dayMs;
const renewAfterMs = 30 * dayMs;

export class RootCrl {
  readonly #deps: RootCrlDependencies;
  readonly #revoked = new Set<string>();

  private constructor(deps: RootCrlDependencies) {
    this.#deps = deps;
  }

  /** Signs the first list, and one that is due. */
  static async open(deps: RootCrlDependencies): Promise<RootCrl> {
    const crl = new RootCrl(deps);
    await crl.renew();
    return crl;
  }

  /** Whether the root has taken this certificate back; for the servers here. */
  readonly isRevoked = (issuerKeyId: string, serial: string): boolean =>
    this.#revoked.has(`${issuerKeyId}/${serial}`);

  /** Signs anew what is older than a month; to be called now and then. */
  async renew(): Promise<void> {
    const { engine, now } = this.#deps;
    await engine.write(async (tx) => {
      await this.#load(tx);
      const row = await tx.db.selectFrom('root_crl').select('signed_at').executeTakeFirst();
      if (row === undefined || now() - row.signed_at >= renewAfterMs) await this.sign(tx);
    });
  }

  /** Signs a list of what is recorded now, in the caller's transaction, and asks for the plans of all sites. */
  async sign(tx: WriteTransaction): Promise<void> {
    const { root, plans, now } = this.#deps;
    const rows = await this.#load(tx);
    const before = await tx.db.selectFrom('root_crl').select('number').executeTakeFirst();
    const signedAt = now();
    const number = (before?.number ?? 0) + 1;
    const pem = await createCrl(root, {
      number,
      thisUpdate: signedAt,
      nextUpdate: signedAt + lifetimeMs,
      revoked: rows.map(({ serial, revoked_at: at, reason }) => ({
        serial,
        at,
        // Only `recordRevocation` writes it.
        reason: reason as RevocationReason,
      })),
    });
    const values = { number, signed_at: signedAt, pem };
    await tx.db
      .insertInto('root_crl')
      .values({ id: 1, ...values })
      .onConflict((c) => c.column('id').doUpdateSet(values))
      .execute();
    const sites = await tx.db.selectFrom('sites').select('site_id').execute();
    await plans.request(
      tx,
      sites.map(({ site_id }) => site_id),
    );
  }

  async #load({ db }: WriteTransaction) {
    const { root } = this.#deps;
    const issuer = root.certificate.extensions.subjectKeyId ?? '';
    const rows = await db
      .selectFrom('revocations')
      .selectAll()
      .where('issuer_key_id', '=', issuer)
      // What a site says of the root's certificates holds nowhere: it may be the word of a gateway that was stolen.
      .where('site_id', 'is', null)
      .execute();
    for (const { serial } of rows) this.#revoked.add(`${issuer}/${serial}`);
    return rows;
  }
}

/** In DER, as RFC 2585 has it. */
export const rootCrlFile = (engine: SqlEngine): PublicFile => ({
  path: '/crl/root.crl',
  contentType: 'application/pkix-crl',
  read: async () => {
    const row = await engine.read.selectFrom('root_crl').select('pem').executeTakeFirst();
    return row && crlDer(row.pem);
  },
});
