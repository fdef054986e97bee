/** Puts together what carries campaigns out: the executions on disk, what holds them back, and the pass that moves them on. */
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SiteStore } from '../store/site-store.js';
import { Availability } from './availability.js';
import { imageOf } from './campaign.js';
import { CampaignGates } from './campaign-gates.js';
import { CampaignPass, type CampaignPassDeps } from './campaign-pass.js';
import { CampaignTurns } from './campaign-turns.js';
import { EmergencyStops } from './emergency-stop.js';
import { type Executions, openExecutions } from './executions.js';
import type { FirmwareVerdicts } from './firmware-releases.js';
import { PlanAge } from './plan-age.js';
import { PlanMarks } from './plan-marks.js';
import type { SiteWindows } from './site-windows.js';

export interface CampaignsDeps extends Omit<CampaignPassDeps, 'time'> {
  readonly site: SiteStore;
  readonly isFenced: () => boolean;
  /** When the control plane was last known to have nothing newer, epoch ms; without it every plan counts as new. */
  readonly asOf?: () => number | null;
  /** Without them devices begin at any time. */
  readonly windows?: Pick<SiteWindows, 'closed'>;
  readonly clock: Clock;
  readonly verdicts: FirmwareVerdicts;
  /** Devices that can be changed without being connected; without it there are none. */
  readonly isReachable?: (device: string) => boolean;
}

export interface Campaigns {
  readonly executions: Executions;
  readonly pass: CampaignPass;
  readonly turns: CampaignTurns;
  readonly gates: CampaignGates;
  readonly stops: EmergencyStops;
}

export interface CampaignsOptions {
  /** Epoch ms that never run back while the program runs. */
  readonly time: () => number;
  /** Told after every commit that changed an execution. */
  readonly changed: () => void;
}

export const openCampaigns = async (
  deps: CampaignsDeps,
  { time, changed }: CampaignsOptions,
): Promise<Campaigns> => {
  const { site, plan, devices, firmware, windows, clock, isFenced, verdicts } = deps;
  const marks = new PlanMarks();
  const current = plan.current();
  if (current !== undefined) marks.take(current);
  const availability = new Availability();
  let pass: CampaignPass | undefined;
  const executions = await openExecutions({
    site,
    time,
    wall: () => clock.now(),
    changed: (campaign, device) => {
      pass?.decided(campaign, device);
      changed();
    },
    success: {
      write: (campaign, device, execution) => {
        const image = imageOf(campaign, execution);
        return image === undefined ? [] : verdicts.successWrite(device, image);
      },
      committed: (campaign, device, execution) => {
        const image = imageOf(campaign, execution);
        if (image !== undefined) verdicts.succeeded(device, image);
      },
    },
  });
  const stops = await EmergencyStops.open({
    site,
    planned: () => plan.current()?.documents.policy.get('policy')?.body.emergency_stop,
    now: () => clock.now(),
  });
  const planAge = new PlanAge({ asOf: deps.asOf ?? (() => clock.now()), clock });
  const gates = new CampaignGates({
    ...{ plan, executions, stops, planAge, isFenced, verdicts, clock, time },
  });
  const turns = new CampaignTurns({
    ...{ devices, firmware, availability, stops, executions, time },
    ...(windows && { windows }),
    ...{ verdicts, marks, isReachable: deps.isReachable },
  });
  pass = new CampaignPass(
    { ...deps, time },
    { executions, availability, marks, turns, gates, verdicts },
  );
  return { executions, pass, turns, gates, stops };
};
