/** Opens the site's shadows and what keeps their conflicts and history within their room. */
import type { SitePolicy } from '@holdfast/protos/link/site-policy';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import type { TrustedClock } from '@holdfast/provisioning/time/trusted-clock';
import type { GatewayConfiguration } from '../configuration.js';
import type { SiteStore } from '../store/site-store.js';
import { ShadowUpkeep } from './shadow-upkeep.js';
import { openShadows, type Shadows } from './shadows.js';

export interface SiteShadowsDeps {
  readonly site: SiteStore;
  /** The log of the site's store. */
  readonly storeLog: string;
  readonly policy: () => Pick<SitePolicy, 'shadowConflicts'>;
  readonly clock: Clock & Pick<TrustedClock, 'onCorrected'>;
  readonly schedule: Schedule;
  readonly log: StoreLog;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

const dayMs = 86_400_000;

export const openSiteShadows = async (
  { site, storeLog, policy, clock, schedule, log, onClose }: SiteShadowsDeps,
  settings: GatewayConfiguration['shadows'],
): Promise<Shadows> => {
  const { historyDays, conflictDays, maxConflicts, ...limits } = settings;
  const rules = () => policy().shadowConflicts;
  const shadows = await openShadows({ site, clock, log: storeLog, rules }, limits);
  onClose('shadows', () => shadows.close());
  const upkeep = new ShadowUpkeep(
    { shadows, site, clock, schedule, log },
    { historyMs: historyDays * dayMs, conflictMs: conflictDays * dayMs, maxConflicts },
  );
  await upkeep.open();
  clock.onCorrected((correction) => void upkeep.correct(correction));
  onClose('upkeep of shadows', () => upkeep.close());
  return shadows;
};
