/** Opens what the control plane grants the site, as it is on disk: plan, orders, and whether the site is still this gateway's. */
import { verifyPlanHead } from '@holdfast/provisioning/documents/plan';
import { verifyDocument } from '@holdfast/provisioning/documents/signature';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import type { AuditEntry } from './audit-entry.js';
import { type Fence, openFence } from './fence.js';
import { type Orders, openOrders } from './orders.js';
import { openPlan, type Plan } from './plan.js';

export interface GrantsDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly root: Certificate;
  /** Of whatever issuer: the certificate that plans and orders are signed under may be revoked as any other. */
  readonly isRevoked: (issuerKeyId: string, serial: string) => boolean;
}

export interface GrantsOptions {
  readonly fleet: string;
  readonly site: string;
  readonly epoch: number;
}

export interface Grants {
  readonly fence: Fence;
  readonly plan: Plan;
  readonly orders: Orders;
}

export const openGrants = async (
  { site: store, clock, log, root, isRevoked }: GrantsDependencies,
  { fleet, site, epoch }: GrantsOptions,
): Promise<Grants> => {
  const trust = () => ({
    ...{ root, isRevoked },
    at: clock.trusted ? clock.now() : ('unchecked' as const),
  });
  const entry: AuditEntry = (kind, body) => journalEntry('audit', kind, body, clock.now());
  const fence = await openFence({ store, clock }, epoch);
  const plan = await openPlan(
    {
      store,
      clock,
      fence,
      entry,
      verify: (jws) => verifyPlanHead(jws, trust()),
      onListenerError: (err) => log.error({ err }, 'a part could not take the new plan up'),
    },
    { fleet, site },
  );
  const orders = await openOrders({
    store,
    clock,
    entry,
    site,
    verify: async (jws) =>
      (await verifyDocument(jws, 'holdfast-orders', trust(), 'ORDERS_REFUSED')).payload,
  });
  return { fence, plan, orders };
};
