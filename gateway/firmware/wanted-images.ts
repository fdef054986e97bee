/** Which images a plan has its site fetch, what for, and how fast: pure. */
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { PlanView } from '../link/plan-view.js';

export interface WantedImage {
  readonly body: FirmwareBody;
  /** Whether a campaign that has begun waits for it; the others are fetched so that they are here by then. */
  readonly isUrgent: boolean;
  /** Ids of the campaigns that install it. */
  readonly campaigns: readonly string[];
  /** What its campaigns let it have of the WAN: as much as the one that lets it have most. Null: all of it. */
  readonly bytesPerS: number | null;
}

/** Every image that the plan names, but for those that only campaigns want which are being cancelled. What is wanted first is first. */
export const wantedImages = ({ documents }: PlanView, now: number): WantedImage[] => {
  const campaigns = [...documents.campaign.values()];
  const wanted = [...documents.firmware.values()].flatMap(({ id, body }) => {
    const all = campaigns.filter((campaign) => campaign.body.firmware.includes(id));
    const live = all.filter((campaign) => campaign.body.state !== 'cancelling');
    if (all.length > 0 && live.length === 0) return [];
    const begun = live.filter(
      (campaign) => campaign.body.state === 'running' && campaign.body.started_at <= now,
    );
    const image: WantedImage = {
      body,
      isUrgent: begun.length > 0,
      campaigns: live.map((campaign) => campaign.id),
      bytesPerS: mostOf(live.map((campaign) => campaign.body.policy.wan_bytes_per_s)),
    };
    const startsAt = Math.min(...live.map((campaign) => campaign.body.started_at));
    return [{ image, startsAt }];
  });
  return wanted
    .sort(
      (a, b) =>
        Number(b.image.isUrgent) - Number(a.image.isUrgent) || (a.startsAt < b.startsAt ? -1 : 1),
    )
    .map(({ image }) => image);
};

const mostOf = (limits: readonly (number | null)[]): number | null => {
  let most: number | null = null;
  for (const limit of limits) {
    if (limit === null) return null;
    most = Math.max(most ?? 0, limit);
  }
  return most;
};

/** When a campaign that is to come makes an image urgent; undefined when none does. */
export const nextUrgentAt = ({ documents }: PlanView, now: number): number | undefined => {
  const starts = [...documents.campaign.values()]
    .filter(({ body }) => body.state === 'running' && body.started_at > now)
    .map(({ body }) => body.started_at);
  return starts.length === 0 ? undefined : Math.min(...starts);
};
