/** A site with campaigns and simulated devices for tests: real rows, outbox and registry; a plan by hand; a gateway that can be cut off. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { everyDevice, onePhase, plainCare } from '@holdfast/protos/link/campaign-document';
import type {
  CampaignBody,
  DocumentReference,
  FirmwareBody,
  FirmwareDelta,
  PlanDocument,
} from '@holdfast/protos/link/plan-documents';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import type { Test } from 'tap';
import type { OutboundMessage } from '../broker/broker.js';
import { type Devices, openDevices } from '../devices/devices.js';
import { createDispatch } from '../devices/dispatch.js';
import {
  changesBetween,
  type PlanChange,
  type PlanState,
  type PlanView,
  viewOf,
} from '../link/plan-view.js';
import { Outbox } from '../store/outbox.js';
import { siteMigrations } from '../store/site-migrations.js';
import { type SiteStore, siteStore } from '../store/site-store.js';
import type { FirmwareReleasesDeps, FirmwareVerdicts } from './firmware-releases.js';
import { type MaintenanceWindow, SiteWindows } from './site-windows.js';
import { Updates } from './updates.js';

export const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const firmwareBody = (version = '2', model = 'pi'): FirmwareBody => ({
  model,
  version,
  sha256: version.padStart(64, '0'),
  size_bytes: 10,
  file_name: 'x.bin',
  path: `/firmware/${version}`,
});

export const campaignBody = (changes: Partial<CampaignBody> = {}): CampaignBody => ({
  state: 'running',
  firmware: ['pi@2'],
  document: null,
  started_at: 1_000,
  target: everyDevice,
  phases: [onePhase],
  allows_older: [],
  resumes: 0,
  policy: {
    site_concurrency: 2,
    retries: 1,
    offer_timeout_ms: 86_400_000,
    download_timeout_ms: 3_600_000,
    install_timeout_ms: 3_600_000,
    confirm_timeout_ms: 600_000,
    ...plainCare,
  },
  ...changes,
});

/** A plan that is set by hand. */
export class HandPlan {
  planState: PlanState = 'fresh';
  #view: PlanView | undefined;
  #revision = 0;
  readonly #listeners = new Set<(change: PlanChange) => void>();

  set(
    campaigns: Record<string, CampaignBody>,
    firmware: readonly FirmwareBody[] = [firmwareBody()],
    others: readonly Omit<PlanDocument, 'revision'>[] = [],
    /** What the head says of its documents, where that is looked at. */
    named: readonly DocumentReference[] = [],
  ): void {
    this.#revision += 1;
    const before = this.#view;
    const revision = this.#revision;
    const head = {
      fleet: 'f',
      site: 's',
      generation: 1,
      epoch: 1,
      revision,
      issued_at: 1,
      expires_at: 1e15,
      grace: 0,
      documents: [...named],
    };
    this.#view = viewOf(head, [
      ...firmware.map((body) => ({
        kind: 'firmware' as const,
        id: `${body.model}@${body.version}`,
        revision,
        body,
      })),
      ...Object.entries(campaigns).map(([id, body]) => ({
        kind: 'campaign' as const,
        id,
        revision,
        body,
      })),
      // Kind and body belong together as they came.
      ...others.map((document) => ({ ...document, revision }) as PlanDocument),
    ]);
    for (const listener of this.#listeners) listener(changesBetween(before, this.#view));
  }

  readonly current = (): PlanView | undefined => this.#view;
  readonly state = (): PlanState => this.planState;
  readonly onChange = (listener: (change: PlanChange) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

/** Which firmware is here. */
export class HandFirmware {
  readonly held = new Set<string>();
  readonly deltas = new Map<string, FirmwareDelta[]>();
  needed: readonly FirmwareBody[] = [];
  readonly #listeners = new Set<(sha256: string) => void>();

  readonly isHeld = (sha256: string): boolean => this.held.has(sha256);
  readonly deltasOf = (sha256: string): FirmwareDelta[] => this.deltas.get(sha256) ?? [];
  readonly need = (firmware: readonly FirmwareBody[]): void => {
    this.needed = firmware;
  };
  readonly onChange = (listener: (sha256: string) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
  come({ sha256 }: FirmwareBody): void {
    this.held.add(sha256);
    for (const listener of this.#listeners) listener(sha256);
  }
  lose({ sha256 }: FirmwareBody): void {
    this.held.delete(sha256);
    for (const listener of this.#listeners) listener(sha256);
  }
}

/** Trusts whatever the plan names: for tests of whose turn it is. */
export const everythingTrusted: FirmwareVerdicts = {
  take: async () => undefined,
  isOld: () => false,
  refusal: () => undefined,
  refusalFor: () => undefined,
  runsOn: () => true,
  successWrite: () => [],
  succeeded: () => undefined,
};

/** Cuts the power at one commit: right before it, or right after it and before anybody knows. */
export interface Cut {
  readonly at: number;
  readonly when: 'before' | 'after';
}

/** With windows it keeps to them, by the clocks of Berlin. */
export const openTestSite = async (
  t: Test,
  {
    windows,
    verdicts = everythingTrusted,
    asOf,
  }: {
    readonly windows?: readonly MaintenanceWindow[];
    readonly verdicts?:
      | FirmwareVerdicts
      | ((deps: FirmwareReleasesDeps) => Promise<FirmwareVerdicts>);
    /** When the control plane was last heard; without it all the time. */
    readonly asOf?: () => number | null;
  } = {},
) => {
  const folder = await mkdtemp(join(tmpdir(), 'updates-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const clock = new ManualClock();
  const plan = new HandPlan();
  const firmware = new HandFirmware();
  const disk = { isFull: false };

  /** One life of the gateway's program. */
  const start = async (
    deliver: (message: OutboundMessage) => void = () => undefined,
    first?: Cut,
    /** What is to be told how devices are told, before there is anything to tell. */
    opening: (parts: { site: SiteStore; devices: Devices; updates: Updates }) => void = () =>
      undefined,
  ) => {
    let cut = first;
    let commits = 0;
    let isDead = false;
    let die = (): void => undefined;
    const dead = new Promise<void>((resolve) => {
      die = () => {
        isDead = true;
        resolve();
      };
    });
    const gone = () => new HoldfastError('STORE_UNAVAILABLE', 'the power is off');
    const alive: typeof store.commits.commit = async (write) => {
      if (isDead) throw gone();
      if (disk.isFull) throw new HoldfastError('STORE_FULL', 'the disk is full');
      commits += 1;
      if (commits === cut?.at) {
        die();
        if (cut.when === 'after') await store.commits.commit(write);
        throw gone();
      }
      await store.commits.commit(write);
      if (isDead) throw gone();
    };
    const outbox = new Outbox({
      // The outbox uses `commit` alone.
      store: { read: store.read, commits: { commit: alive } as typeof store.commits },
      log,
    });
    const lane = { appended: () => undefined };
    const real = siteStore({
      store: { read: store.read, commits: { commit: alive } as typeof store.commits },
      outbox,
      lanes: { audit: lane, state: lane },
    });
    const site: SiteStore = real;
    const devices = await openDevices({ site, clock, log }, { writeAfterMs: 5 });
    const updates = new Updates(
      {
        site,
        outbox,
        plan,
        devices,
        firmware,
        clock,
        log,
        isFenced: () => false,
        verdicts: typeof verdicts === 'function' ? await verdicts({ site, clock }) : verdicts,
        ...(asOf && { asOf }),
        ...(windows && {
          windows: new SiteWindows(
            { clock },
            { windows, timeZone: 'Europe/Berlin', whenTimeUnknown: 'closed' },
          ),
        }),
        publish: async (message) => {
          if (isDead) throw gone();
          deliver(message);
        },
      },
      { passAfterMs: 1 },
    );
    const dispatch = createDispatch({
      devices,
      updates,
      clock,
      telemetry: { record: async () => undefined },
      shadows: { request: async () => ({ accepted: true, version: 1 }) },
      commands: { answered: async () => undefined },
    });
    // As the door of the older set does, for devices that are there.
    updates.tellThrough('devices', async (device, id) => {
      if (isDead) throw gone();
      const offered = updates
        .executionsOf(device)
        .find(({ campaign, execution }) => campaign.id === id && execution.status === 'offered');
      if (offered?.image == null) return;
      const { version, sha256, size_bytes } = offered.image;
      const command = {
        ...{ command: 'ota_update', version, checksum: `sha256:${sha256}`, size_bytes },
        ...{ url: `https://gateway:8443/firmware/sha256/${sha256}`, campaign_id: id },
      };
      const payload = Buffer.from(JSON.stringify(command));
      deliver({ topic: `devices/${device}/command`, payload, qos: 1 });
    });
    opening({ site, devices, updates });
    await updates.open().catch((error: unknown) => {
      if (!isDead) throw error;
    });
    outbox.start();
    let closing: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      await updates.close();
      await outbox.close();
      await devices.close();
    };
    const close = () => (closing ??= stop());
    t.teardown(close);
    return {
      devices,
      updates,
      dispatch,
      outbox,
      close,
      dead,
      /** Cuts the power at one of the commits to come, 1 for the next. */
      cutAt: (at: number, when: Cut['when']): void => {
        cut = { at: commits + at, when };
      },
      get isDead() {
        return isDead;
      },
      get commits() {
        return commits;
      },
    };
  };

  const journal = async (): Promise<Record<string, unknown>[]> =>
    (
      await store.read.all<{ kind: string; body: string }>(
        'SELECT kind, body FROM journal_state ORDER BY seq',
      )
    ).map(({ kind, body }) => ({ kind, ...(JSON.parse(body) as Record<string, unknown>) }));
  const statuses = async (campaign = 'c'): Promise<Record<string, string>> =>
    Object.fromEntries(
      (
        await store.read.all<{ device: string; status: string }>(
          'SELECT device, status FROM executions WHERE campaign = ? ORDER BY device',
          [campaign],
        )
      ).map(({ device, status }) => [device, status]),
    );
  return { store, clock, plan, firmware, disk, start, journal, statuses };
};

export type Life = Awaited<ReturnType<Awaited<ReturnType<typeof openTestSite>>['start']>>;
