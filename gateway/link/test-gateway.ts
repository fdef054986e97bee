/** The parts of a gateway that the link joins, over real files, for tests. */
import { join } from 'node:path';
import { verifyPlanHead } from '@holdfast/provisioning/documents/plan';
import { verifyDocument } from '@holdfast/provisioning/documents/signature';
import { verifyTime } from '@holdfast/provisioning/documents/time';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { openStore, type Store } from '@holdfast/provisioning/storage/store';
import { systemClock } from '@holdfast/provisioning/time/clock';
import type { TrustedClock } from '@holdfast/provisioning/time/trusted-clock';
import type { ConnectProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { journalEntry } from '../store/journal.js';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { openTelemetry, type Telemetry } from '../telemetry/telemetry.js';
import type { AuditEntry } from './audit-entry.js';
import { grpcDial } from './dial.js';
import { FarEnd, probeOf } from './far-end.js';
import { type Fence, openFence } from './fence.js';
import { Link, type LinkOptions } from './link.js';
import { type Orders, openOrders } from './orders.js';
import { openPlan, type Plan } from './plan.js';
import { openSealedLane, type SealedLane } from './sealed-lane.js';
import { TimeQuestion } from './time-question.js';

export interface TestGatewayOptions extends Partial<LinkOptions> {
  readonly dir: string;
  /** Of the control plane's link. */
  readonly address: string;
  readonly fleet: string;
  readonly site: string;
  readonly root: Certificate;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly via?: ConnectProxy;
  readonly epoch?: number;
  /** Asks for the control plane so often while it is away; by default not at all. */
  readonly probeEveryMs?: number;
  /** By default the machine's, believed as it is. */
  readonly clock?: TrustedClock;
  /** Moves the link's time on, ms; by default it goes by itself. */
  readonly monotonic?: () => number;
  /** Carries orders out; by default each `command` becomes a row of the table `commands`. */
  readonly onCommand?: (command: string) => void;
}

export interface TestGateway {
  readonly store: Store;
  readonly telemetry: Telemetry;
  readonly audit: SealedLane;
  readonly state: SealedLane;
  readonly plan: Plan;
  readonly orders: Orders;
  readonly fence: Fence;
  readonly link: Link;
  readonly entry: AuditEntry;
  /** Commits an entry of the state lane. */
  settle(campaign: string): Promise<void>;
  close(): Promise<void>;
}

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const openTestGateway = async (options: TestGatewayOptions): Promise<TestGateway> => {
  const {
    dir,
    address,
    fleet,
    site,
    root,
    tls,
    via,
    epoch = 1,
    onCommand,
    probeEveryMs,
    monotonic,
    ...linkOptions
  } = options;
  const { clock: asked } = options;
  const clock = asked ?? { ...systemClock(), ...(monotonic && { monotonic }) };
  const store = await openStore({
    path: join(dir, 'site.db'),
    migrations: siteMigrations,
    log: silent,
  });
  const telemetry = await openTelemetry(
    { clock, log: silent },
    { path: join(dir, 'telemetry.db'), budgetBytes: 256 * 1024 * 1024 },
  );
  const audit = await openSealedLane({ store, clock }, 'audit');
  const state = await openSealedLane({ store, clock }, 'state');
  const committed = siteStore({
    store,
    outbox: { kick: () => undefined },
    lanes: { audit, state },
  });
  const deps = { store: committed, clock };
  const entry: AuditEntry = (kind, body) => journalEntry('audit', kind, body, clock.now());
  const fence = await openFence(deps, epoch);
  const trust = { root, at: clock.now() };
  const plan = await openPlan(
    {
      ...deps,
      entry,
      fence,
      verify: (jws) => verifyPlanHead(jws, trust),
      onListenerError: (error) => {
        throw error;
      },
    },
    { fleet, site },
  );
  const orders = await openOrders({
    ...deps,
    site,
    entry,
    verify: async (jws) =>
      (await verifyDocument(jws, 'holdfast-orders', trust, 'ORDERS_REFUSED')).payload,
  });
  orders.handle('shadow', (_, commit) => commit([]));
  orders.handle('resupplied', (_, commit) => commit([]));
  orders.handle('command', async ({ device, command, type, payload, expires_at }, commit) => {
    onCommand?.(command);
    await commit([
      {
        sql: `INSERT INTO commands (device, command, type, payload, expires_at, state, created_at)
              VALUES (?, ?, ?, ?, ?, 'delivered', 0)`,
        params: [device, command, type, JSON.stringify(payload), expires_at],
      },
    ]);
  });
  const dial = grpcDial({
    address,
    root,
    client: () => tls,
    clock,
    onDatesRefused: () => asked?.contradict(),
    via,
  });
  const time =
    asked &&
    new TimeQuestion(
      {
        clock: asked,
        log: silent,
        verify: (jws, nonce) => verifyTime(jws, { root }, { site, nonce }),
      },
      { againMs: 20 },
    );
  const link = new Link(
    {
      lanes: [audit, state, telemetry.lane],
      plan,
      orders,
      fence,
      dial,
      clock,
      log: silent,
      ...(time && { time }),
      ...(probeEveryMs !== undefined && {
        farEnd: new FarEnd(
          { probe: probeOf(address, via) },
          { everyMs: probeEveryMs, spreadMs: probeEveryMs },
        ),
      }),
    },
    { version: '0.0.0', firstRetryMs: 10, mostRetryMs: 50, refusedRetryMs: 100, ...linkOptions },
  );
  return {
    store,
    telemetry,
    audit,
    state,
    plan,
    orders,
    fence,
    link,
    entry,
    settle: (campaign) =>
      committed.commit([journalEntry('state', 'campaign_settled', { campaign }, 0)]),
    async close() {
      await link.close();
      await telemetry.close();
      await store.close();
    },
  };
};
