/** The clock of the site: opened before anything that asks for the time, then told to the journal and set by plan, link and people. */
import { join } from 'node:path';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type MachineTime, machineTime } from '@holdfast/provisioning/time/machine-time';
import {
  type ClockStatus,
  type NtpPolicy,
  openClock,
  type TrustedClock,
} from '@holdfast/provisioning/time/trusted-clock';
import type { Plan } from '../link/plan.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import type { GatewayIdentity } from './gateway-identity.js';

export interface SiteClockDependencies {
  readonly identity: Pick<GatewayIdentity, 'link'>;
  readonly log: StoreLog;
  readonly onClose: (name: string, close: () => Promise<void>) => void;
  /** This one, unless a test holds the clocks. */
  readonly machine?: MachineTime;
}

export interface SiteClockOptions {
  readonly dataDir: string;
  readonly ntp: NtpPolicy;
}

export const openSiteClock = async (
  { identity, log, onClose, machine = machineTime() }: SiteClockDependencies,
  { dataDir, ntp }: SiteClockOptions,
): Promise<TrustedClock> => {
  // It is at least the time at which this gateway was certified.
  const floorMs = identity.link.certificate.notBefore;
  const clock = await openClock(
    { log, machine },
    { path: join(dataDir, 'clock.json'), ntp, floorMs },
  );
  onClose('clock', () => clock.close());
  return clock;
};

export interface FollowClockDependencies {
  readonly clock: TrustedClock;
  readonly site: SiteStore;
  readonly plan: Pick<Plan, 'onChange'>;
}

/** The clock as people see and set it. */
export interface PeopleClock {
  status(): ClockStatus;
  /** Epoch ms; null: the machine's clock is right. Resolves when it is in the journal. Errors as `TrustedClock.assert`. */
  set(time: number | null, actor: string): Promise<void>;
}

/** To be called when the site's store is open. */
export const followClock = ({ clock, site, plan }: FollowClockDependencies): PeopleClock => {
  clock.report({
    clock: (body) => site.commit([journalEntry('audit', 'clock', body, clock.now())]),
    doubted: (body) => site.commit([journalEntry('audit', 'clock_doubted', body, clock.now())]),
  });
  plan.onChange(({ plan: { head } }) => clock.noticeSigned(head.issued_at));
  return {
    status: () => clock.status(),
    async set(time, actor) {
      clock.checkAssertion(time);
      const step = Math.round((time ?? Date.now()) - clock.now());
      await site.commit([journalEntry('audit', 'clock_set', { actor, time, step }, clock.now())]);
      clock.assert(time);
    },
  };
};
