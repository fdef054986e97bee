/** Opens what has to do with firmware at the site: the cache, which follows the plan, and what serves from it. */
import type { Agent } from 'node:https';
import { join } from 'node:path';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { GatewayConfiguration } from '../configuration.js';
import type { PlanChange, PlanView } from '../link/plan-view.js';
import type { SiteStore } from '../store/site-store.js';
import type { SiteWindows } from '../updates/site-windows.js';
import { FirmwareCache } from './firmware-cache.js';
import { ImageNotes } from './image-notes.js';
import { ImageServer } from './image-server.js';
import { SiteDeltas } from './site-deltas.js';
import { nextUrgentAt, wantedImages } from './wanted-images.js';

export interface OpenFirmwareDeps {
  readonly site: SiteStore;
  readonly plan: {
    current(): PlanView | undefined;
    onChange(listener: (change: PlanChange) => void): () => void;
  };
  readonly source: { readonly address: string; readonly agent: Agent };
  readonly windows: Pick<SiteWindows, 'closed'>;
  /** What is not evicted, whatever the plan says. */
  readonly isKept: (sha256: string) => boolean;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface OpenFirmwareOptions {
  readonly dataDir: string;
  readonly configuration: GatewayConfiguration['firmware'];
}

/** How often it is looked whether a campaign that was to come has begun, at least, ms: the wall clock may be set. */
const lookAtStartsMs = 60_000;

export const openFirmware = async (
  { site, plan, source, windows, isKept, clock, log, onClose }: OpenFirmwareDeps,
  { dataDir, configuration }: OpenFirmwareOptions,
): Promise<{ readonly firmware: FirmwareCache; readonly images: ImageServer }> => {
  const notes = new ImageNotes(site);
  await notes.open();
  const fromPlan = (): number | null =>
    plan.current()?.documents.policy.get('policy')?.body.wan_bytes_per_s ?? null;
  const firmware = new FirmwareCache(
    {
      ...{ source, log, notes, windows, isKept },
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
    },
    {
      folder: join(dataDir, 'firmware'),
      quotaBytes: configuration.quotaBytes,
      wanBytesPerS: () => smaller(configuration.wanBytesPerS || null, fromPlan()),
    },
  );
  await firmware.open();
  onClose('firmware', () => firmware.close());

  let timer: NodeJS.Timeout | undefined;
  const follow = (): void => {
    clearTimeout(timer);
    const view = plan.current();
    if (view === undefined) return;
    const now = clock.now();
    firmware.foresee(wantedImages(view, now));
    const next = nextUrgentAt(view, now);
    if (next === undefined) return;
    timer = setTimeout(follow, Math.min(next - now, lookAtStartsMs)).unref();
  };
  const stop = plan.onChange(follow);
  follow();
  onClose('pre-warming of firmware', () => {
    stop();
    clearTimeout(timer);
  });
  if (configuration.makeDeltas) {
    const folder = join(dataDir, 'firmware-deltas');
    const deltas = new SiteDeltas({ cache: firmware, notes, log }, { folder });
    await deltas.open();
    onClose('deltas of firmware', () => deltas.close());
  }
  return { firmware, images: new ImageServer({ firmware, log }, configuration) };
};

const smaller = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);
