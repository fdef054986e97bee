/** The control plane's store with one site and the parts that belong to every change, without servers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JournalBatch } from '@holdfast/protos/gen/holdfast/v1/link';
import { Signals } from '../bus/signals.js';
import { EffectRegistry } from '../effects/effect-registry.js';
import { receiveBatch } from '../link/journal-batch.js';
import { type IngestResult, ingestBatch } from '../link/journal-ingest.js';
import { Orders, readOrders } from '../link/orders.js';
import { ShadowHistory } from '../shadows/shadow-history.js';
import { PlanPublisher } from '../sites/plan-publisher.js';
import { insertSite } from '../sites/site-records.js';
import { openEmbeddedEngine } from '../store/embedded-engine.js';
import type { Test } from './cloud-under-test.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const storeUnderTest = async (
  t: Test,
  {
    now = () => 1_000,
    historyBytes = 1e9,
  }: { readonly now?: () => number; readonly historyBytes?: number } = {},
) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log: silent });
  const signals = new Signals();
  const orders = new Orders({ signals, now });
  const history = new ShadowHistory({ signals, now }, { maxBytes: historyBytes });
  const plans = new PlanPublisher(
    { engine, signals, now, log: silent, sign: async () => 'unsigned' },
    { fleet: 'test' },
  );
  t.teardown(async () => {
    await plans.close();
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });
  await engine.write(async (tx) => {
    await insertSite(tx, { site: 'a', displayName: 'a', now: 1 });
    await tx.db.updateTable('sites').set({ epoch: 2, gateway_id: 'gw2' }).execute();
  });
  const effects = new EffectRegistry();
  return {
    engine,
    signals,
    orders,
    history,
    plans,
    effects,
    now,
    log: silent,
    /** Takes a batch in as the link does. */
    ingest: async (
      batch: JournalBatch,
      { isFenced = false }: { readonly isFenced?: boolean } = {},
    ): Promise<IngestResult['outcome']> => {
      const received = await receiveBatch(batch);
      const gateway = isFenced ? { gateway: 'gw1', epoch: 1 } : { gateway: 'gw2', epoch: 2 };
      return (await ingestBatch({ engine, effects, now }, { site: 'a', ...gateway }, received))
        .outcome;
    },
    /** The bodies of the orders that the site is owed, as they would leave now. */
    owed: async (): Promise<{ kind: string; body: Record<string, unknown> }[]> => {
      while ((await engine.write((tx) => orders.seal(tx, 'a', 500))) > 0);
      const stored = await readOrders(engine.read, 'a', { after: 0, maxBytes: 1e9 });
      return stored.map(({ kind, body }) => ({ kind, body: JSON.parse(body) }));
    },
  };
};

export type StoreUnderTest = Awaited<ReturnType<typeof storeUnderTest>>;
