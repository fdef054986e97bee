/** What a technician sees of campaigns at the gateway, and does there whether the WAN is up or not: pause, resume, stop everything. */
import * as v from 'valibot';
import type { CommandContext } from '../../context.js';
import { ago, type Column } from '../../terminal.js';
import { stateAtSite } from './campaign-rows.js';

const counts = v.record(v.string(), v.number());
const campaignAnswer = v.looseObject({
  campaign: v.string(),
  version: v.string(),
  state: v.string(),
  is_settled: v.boolean(),
  phase: v.number(),
  paused: v.nullable(v.looseObject({ by: v.string(), reason: v.string() })),
  waits_for: v.nullable(v.looseObject({ code: v.string(), reason: v.string() })),
  phases: v.array(v.looseObject({ percent: v.number(), executions: counts })),
  executions: counts,
});
type CampaignAnswer = v.InferOutput<typeof campaignAnswer>;

const stopsAnswer = v.looseObject({
  stops: v.array(
    v.looseObject({
      of: v.picklist(['site', 'fleet']),
      by: v.string(),
      reason: v.string(),
      at: v.number(),
    }),
  ),
});
export type SiteStop = v.InferOutput<typeof stopsAnswer>['stops'][number];

/** Counts by status in words. */
export const countsText = (executions: Readonly<Record<string, number>>): string =>
  Object.entries(executions)
    .filter(([, count]) => count > 0)
    .map(([status, count]) => `${count} ${status.replace('_', ' ')}`)
    .join(' · ') || 'no device matches so far';

export const showAtSite = async (context: CommandContext, id: string): Promise<void> => {
  const client = await context.gateway();
  show(context, v.parse(campaignAnswer, await client.get(pathOf(id))));
};

export const pauseAtSite = async (
  context: CommandContext,
  id: string,
  reason: string,
): Promise<void> => {
  const client = await context.gateway();
  show(context, v.parse(campaignAnswer, await client.post(`${pathOf(id)}/pause`, { reason })));
  context.terminal.line(
    `  next: holdfast --gateway campaign resume ${id}, when it is to go on here`,
  );
};

export const resumeAtSite = async (context: CommandContext, id: string): Promise<void> => {
  const client = await context.gateway();
  show(context, v.parse(campaignAnswer, await client.post(`${pathOf(id)}/resume`, {})));
  context.terminal.line(`  next: holdfast --gateway campaign executions ${id}`);
};

export const stopAtSite = async (context: CommandContext, reason: string): Promise<void> => {
  const { terminal } = context;
  const answer = await (await context.gateway()).post('/emergency-stop', { reason });
  const { stops } = v.parse(stopsAnswer, answer);
  terminal.json(stops);
  terminal.line(`${terminal.paint('red', '■')} this site: every update is stopped`);
  terminal.line('  It holds until somebody lifts it here: holdfast --gateway lift');
};

export const liftAtSite = async (context: CommandContext, reason: string): Promise<void> => {
  const { terminal } = context;
  const query = new URLSearchParams({ reason });
  const client = await context.gateway();
  const before = v.parse(stopsAnswer, await client.get('/emergency-stop'));
  const { stops } = v.parse(stopsAnswer, await client.delete(`/emergency-stop?${query}`));
  terminal.json(stops);
  if (before.stops.length === 0) {
    terminal.line(`${terminal.paint('yellow', '!')} nothing was stopped here`);
    return;
  }
  if (stops.length === 0) {
    terminal.line(`${terminal.paint('green', '✓')} this site: updates go on`);
    return;
  }
  terminal.line(`${terminal.paint('yellow', '!')} the whole fleet is stopped in the cloud still`);
  terminal.line('  next: holdfast lift, against the control plane');
};

export const listStopsAtSite = async (context: CommandContext): Promise<void> => {
  const { stops } = v.parse(stopsAnswer, await (await context.gateway()).get('/emergency-stop'));
  context.terminal.table(stops, stopColumns(context.now()), 'Nothing is stopped');
};

/** Lines of `status`. */
export const stopLines = (
  stops: readonly SiteStop[],
  now: number,
): (readonly [title: string, text: string])[] =>
  stops.map((stop) => [
    'UPDATES STOPPED',
    `by ${stop.by} ${ago(new Date(stop.at), now)}, ${whereOf(stop)}${stop.reason === '' ? '' : `: ${stop.reason}`}`,
  ]);

const pathOf = (id: string): string => `/campaigns/${encodeURIComponent(id)}`;

const whereOf = ({ of }: SiteStop): string => (of === 'site' ? 'this site' : 'the whole fleet');

const stopColumns = (now: number): readonly Column<SiteStop>[] => [
  { title: 'WHERE', value: whereOf, colour: () => 'red' },
  { title: 'SINCE', value: ({ at }) => ago(new Date(at), now) },
  { title: 'BY', value: ({ by }) => by },
  { title: 'REASON', value: ({ reason }) => reason },
];

const show = ({ terminal }: CommandContext, campaign: CampaignAnswer): void => {
  const { phases, phase, waits_for: waits } = campaign;
  terminal.fields(campaign, [
    ['campaign', campaign.campaign],
    ['version', campaign.version === '' ? undefined : campaign.version],
    ['state', stateAtSite(campaign)],
    ['phase', phase < 0 ? 'not begun' : `${phase + 1} of ${phases.length}`],
    ['waits', waits === null ? undefined : waits.reason],
    ['devices', countsText(campaign.executions)],
    ...(phases.length > 1
      ? phases.map(
          ({ percent, executions }, i) =>
            [`phase ${i + 1} (${percent} %)`, countsText(executions)] as const,
        )
      : []),
  ]);
};
