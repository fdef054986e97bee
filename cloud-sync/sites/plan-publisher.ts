/**
 * Composes what a site is to do into a plan and publishes it: documents from every provider, a head that names them, signed. A change
 * asks for a new plan in its own transaction (`request`), so that no crash between the two leaves a site with an old one.
 */

import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { PlanHead } from '@holdfast/protos/link/plan-documents';
import { canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import type { Kysely } from 'kysely';
import type { Signals } from '../bus/signals.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { composeDocuments, type PlanDocumentProvider, storeDocuments } from './plan-documents.js';

export interface PlanPublisherDependencies {
  readonly engine: SqlEngine;
  readonly signals: Signals;
  /** Makes the head's JWS. */
  readonly sign: (head: PlanHead) => Promise<string>;
  readonly now: () => number;
  /** Whether a site's gateway hears of its plan at once. */
  readonly isConnected?: (site: string) => boolean;
  readonly log: { error(data: object, message: string): void };
}

export interface PlanPublisherOptions {
  readonly fleet: string;
  /** How long a head holds; it is issued anew after a third of it at the latest. */
  readonly lifetimeMs?: number;
  /** It is issued anew after so long: by the age of its head a site, and a device, knows how old what it goes by is. */
  readonly renewAfterMs?: number;
  /** How long after that the site still begins new work. */
  readonly graceMs?: number;
}

const dayMs = 86_400_000;
/** Plans that are composed at once: those that wait share commits. */
const mostAtOnce = 16;
/** Both engines bound the parameters of a statement. */
const rowsAtOnce = 500;

export class PlanPublisher {
  readonly #deps: PlanPublisherDependencies;
  readonly #options: Required<PlanPublisherOptions>;
  readonly #providers: PlanDocumentProvider[] = [];
  readonly #running = new Map<string, Promise<void>>();
  readonly #again = new Map<string, Promise<void>>();
  /** Sites whose plans are to be composed, in this order. */
  readonly #waiting = new Set<string>();
  #working = 0;
  #isClosed = false;

  constructor(deps: PlanPublisherDependencies, options: PlanPublisherOptions) {
    this.#deps = deps;
    this.#options = {
      ...{ lifetimeMs: 90 * dayMs, graceMs: 30 * dayMs, renewAfterMs: dayMs / 2 },
      ...options,
    };
  }

  /** To be called before the link is served. */
  register(provider: PlanDocumentProvider): void {
    this.#providers.push(provider);
  }

  /** Notes within the caller's transaction that the plans of these sites have to be composed anew; it is done after the commit. */
  async request(tx: WriteTransaction, sites: readonly string[]): Promise<void> {
    for (let at = 0; at < sites.length; at += rowsAtOnce) {
      await tx.db
        .insertInto('plans')
        .values(
          sites
            .slice(at, at + rowsAtOnce)
            .map((site) => ({ ...emptyPlan, site_id: site, requested: 1 })),
        )
        .onConflict((c) => c.column('site_id').doUpdateSet({ requested: 1 }))
        .execute();
    }
    tx.afterCommit(() => this.#publishSoon(sites));
  }

  /** The same for every site. */
  async requestAll(tx: WriteTransaction): Promise<void> {
    await tx.db.updateTable('plans').set({ requested: 1 }).execute();
    tx.afterCommit(() => {
      this.publishDue().catch((error: unknown) => {
        this.#deps.log.error({ error: messageOf(error) }, 'plans could not be published');
      });
    });
  }

  /**
   * Publishes the site's plan if it says anything new or its time is running out. Calls during a run share the next one. Resolves
   * after the commit.
   */
  publish(site: string): Promise<void> {
    const running = this.#running.get(site);
    if (running === undefined) return this.#run(site);
    let again = this.#again.get(site);
    if (again === undefined) {
      again = running
        .catch(() => undefined)
        .then(() => {
          this.#again.delete(site);
          return this.#run(site);
        });
      this.#again.set(site, again);
    }
    return again;
  }

  /** Publishes what was requested before a crash, and what runs out; to be called at the start and now and then. */
  async publishDue(): Promise<void> {
    const due = await this.#deps.engine.read
      .selectFrom('plans')
      .select('site_id')
      .where((eb) =>
        eb.or([
          eb('requested', '=', 1),
          eb.and([eb('head', 'is not', null), eb('expires_at', '<', this.#renewBefore())]),
        ]),
      )
      .execute();
    const left = this.#connectedFirst(due.map(({ site_id }) => site_id)).values();
    const publishEach = async () => {
      for (const site of left) {
        if (this.#isClosed) return;
        await this.#publishOrTell(site);
      }
    };
    await Promise.all(Array.from({ length: mostAtOnce }, publishEach));
  }

  /** Compares the plan that the site has with the published one, when its gateway connects. */
  async meet(
    tx: WriteTransaction,
    site: string,
    held: { readonly generation: number; readonly revision: number },
  ): Promise<void> {
    const plan = await tx.db
      .selectFrom('plans')
      .select(['generation', 'revision'])
      .where('site_id', '=', site)
      .executeTakeFirst();
    if (plan !== undefined && isAfter(held, plan)) {
      await this.raiseGeneration(tx, site, held.generation);
    }
  }

  /**
   * The site has a plan that is not known here: this database was restored from a backup. The generation goes above that plan's, so that
   * the site takes what it is given from now on.
   */
  async raiseGeneration(tx: WriteTransaction, site: string, above: number): Promise<void> {
    if (above > mostGenerations) return;
    await tx.db
      .updateTable('plans')
      .set({ generation: above + 1 })
      .where('site_id', '=', site)
      .where('generation', '<=', above)
      .execute();
    await this.request(tx, [site]);
  }

  /** Waits for the runs under way; what was requested besides is published at the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([...this.#running.values(), ...this.#again.values()]);
  }

  /** However many sites a change is for: a few at a time, so that what else is written meanwhile does not wait for all of them. */
  #publishSoon(sites: readonly string[]): void {
    for (const site of this.#connectedFirst(sites)) this.#waiting.add(site);
    while (this.#working < mostAtOnce && this.#waiting.size > 0) {
      this.#working += 1;
      this.#publishWaiting().finally(() => {
        this.#working -= 1;
      });
    }
  }

  async #publishWaiting(): Promise<void> {
    for (const site of this.#waiting) {
      if (this.#isClosed) return;
      this.#waiting.delete(site);
      await this.#publishOrTell(site);
    }
  }

  /** What is wrong with one site's plan keeps nothing from the others: it may be a stop that they wait for. */
  async #publishOrTell(site: string): Promise<void> {
    await this.publish(site).catch((error: unknown) => {
      this.#deps.log.error({ site, error: messageOf(error) }, 'a plan could not be published');
    });
  }

  /** A pause or a stop counts where somebody hears of it now. */
  #connectedFirst(sites: readonly string[]): readonly string[] {
    const { isConnected } = this.#deps;
    if (isConnected === undefined || sites.length <= mostAtOnce) return sites;
    return [
      ...sites.filter((site) => isConnected(site)),
      ...sites.filter((site) => !isConnected(site)),
    ];
  }

  #run(site: string): Promise<void> {
    const run = this.#deps.engine
      .write((tx) => this.#compose(tx, site))
      .finally(() => this.#running.delete(site));
    this.#running.set(site, run);
    return run;
  }

  async #compose(tx: WriteTransaction, site: string): Promise<void> {
    const { db } = tx;
    const row = await readSiteAndPlan(db, site);
    // Without a gateway there is nobody to whom a plan could be addressed; enrolment asks for one.
    if (row === undefined || row.epoch < 1) return;
    const { lifetimeMs, graceMs, fleet } = this.#options;
    const revision = row.revision + 1;
    const documents = await composeDocuments(db, this.#providers, site, revision);
    const references = documents.map(({ kind, id, revision, sha256 }) => ({
      kind,
      id,
      revision,
      sha256,
    }));
    const content = {
      fleet,
      site,
      generation: row.generation,
      epoch: row.epoch,
      documents: references,
    };
    const contentSha256 = canonicalSha256(content);
    if (contentSha256 === row.content_sha256 && row.expires_at >= this.#renewBefore()) {
      await db.updateTable('plans').set({ requested: 0 }).where('site_id', '=', site).execute();
      return;
    }
    const issuedAt = this.#deps.now();
    const expiresAt = issuedAt + lifetimeMs;
    const head = await this.#deps.sign({
      ...content,
      revision,
      issued_at: issuedAt,
      expires_at: expiresAt,
      grace: graceMs,
    });
    await storeDocuments(db, site, documents);
    await db
      .updateTable('plans')
      .set({
        revision,
        head,
        content_sha256: contentSha256,
        expires_at: expiresAt,
        requested: 0,
        refused_code: null,
        refused_message: null,
      })
      .where('site_id', '=', site)
      .execute();
    tx.afterCommit(() => this.#deps.signals.publish(`plan:${site}`));
  }

  #renewBefore(): number {
    const { lifetimeMs, renewAfterMs } = this.#options;
    return this.#deps.now() + lifetimeMs - Math.min(lifetimeMs / 3, renewAfterMs);
  }
}

/** A site's plan before anything was published. Generations count from 1. */
const emptyPlan = {
  generation: 1,
  revision: 0,
  head: null,
  content_sha256: null,
  expires_at: 0,
  applied_generation: 0,
  applied_revision: 0,
  refused_code: null,
  refused_message: null,
};

/** Far more than there will ever be; a site that names a higher one says something else than the truth. */
const mostGenerations = 2 ** 40;

const readSiteAndPlan = (db: Kysely<Schema>, site: string) =>
  db
    .selectFrom('sites')
    .innerJoin('plans', 'plans.site_id', 'sites.site_id')
    .select([
      'sites.epoch',
      'plans.generation',
      'plans.revision',
      'plans.content_sha256',
      'plans.expires_at',
    ])
    .where('sites.site_id', '=', site)
    .executeTakeFirst();

const isAfter = (
  a: { readonly generation: number; readonly revision: number },
  b: { readonly generation: number; readonly revision: number },
): boolean =>
  a.generation > b.generation || (a.generation === b.generation && a.revision > b.revision);
