/** What the sites report of campaigns: executions, counted with their campaign as they come, and where each site stands. */
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import { phaseIndexOf } from '@holdfast/protos/semantics/phase-machine';
import type {
  EffectContext,
  EffectEntry,
  EffectRegistry,
  EntryProblem,
} from '../effects/effect-registry.js';
import { judgeCampaign } from './campaign-gates.js';
import {
  type CampaignRecordDependencies,
  type ExecutionRow,
  findCampaign,
  requireCampaign,
} from './campaign-records.js';
import { phasesOfRow } from './campaign-row.js';
import { registerSiteStandingEffects } from './campaign-site-effects.js';
import { isAtSite } from './campaign-sites.js';
import { ExecutionChanges, readExecutions } from './execution-records.js';

export interface CampaignEffectsDependencies extends CampaignRecordDependencies {
  readonly effects: EffectRegistry;
}

type ExecutionEntry = EffectEntry<EntryBody<'state', 'execution'>>;

export const registerCampaignEffects = (deps: CampaignEffectsDependencies): void => {
  deps.effects.register('state', 'execution', (context, entries) =>
    takeExecutions(deps, context, entries),
  );
  registerSiteStandingEffects(deps);
};

const takeExecutions = async (
  deps: CampaignEffectsDependencies,
  context: EffectContext,
  entries: readonly ExecutionEntry[],
): Promise<EntryProblem[]> => {
  const { tx, site } = context;
  const problems: EntryProblem[] = [];
  for (const [campaign, its] of groupByCampaign(entries)) {
    const known = await findCampaign(tx.db, campaign);
    if (known === undefined) {
      problems.push(...its.map(({ seq }) => ({ seq, problem: 'there is no such campaign' })));
      continue;
    }
    // Its numbers would open gates, and pause the campaign, at the others. A draft may be one that was started, in a database before this one.
    if (known.state !== 'draft' && !(await isAtSite(tx.db, { campaign, site }))) {
      problems.push(
        ...its.map(({ seq }) => ({ seq, problem: 'the site does not carry this campaign out' })),
      );
      continue;
    }
    const phases = phasesOfRow(known);
    const devices = [...new Set(its.map(({ body }) => body.device))];
    const before = await readExecutions(tx.db, { campaign, site }, devices);
    const changes = new ExecutionChanges({ campaign, site }, before, context.now);
    for (const entry of its) {
      const { phase, device } = entry.body;
      const index = Math.min(phase ?? phaseIndexOf(phases, campaign, device), phases.length - 1);
      const row = executionAfter(context, changes.get(device), entry, index);
      if (row !== undefined) changes.set(row);
    }
    if (!(await changes.write(tx.db))) continue;
    await judgeCampaign(deps, tx, await requireCampaign(tx.db, campaign));
    tx.afterCommit(() => deps.signals.publish(`campaign:${campaign}`));
  }
  return problems;
};

/**
 * What an entry makes of an execution; undefined when it says nothing new. Within a log entries come once and in order. Another log is
 * one of a gateway that was replaced or whose database was made anew, or an older one that is sent again: it takes no result back,
 * unless by a result. Where the site's owner has spoken, one that is fenced has nothing to add.
 */
const executionAfter = (
  { site, log, isFenced }: EffectContext,
  was: ExecutionRow | undefined,
  { at, body }: ExecutionEntry,
  phase: number,
): Omit<ExecutionRow, 'steps'> | undefined => {
  if (was !== undefined) {
    if (isTerminal(was.status) && !isTerminal(body.status)) return undefined;
    if (isFenced && was.log !== log) return undefined;
  }
  return {
    campaign_id: body.campaign,
    site_id: site,
    device_id: body.device,
    log,
    status: body.status,
    attempt: body.attempt,
    progress: body.progress,
    from_version: body.from_version,
    to_version: body.to_version,
    error: body.error,
    updated_at: at,
    phase,
    door: body.door,
    number: body.number,
  };
};

const groupByCampaign = (entries: readonly ExecutionEntry[]): Map<string, ExecutionEntry[]> => {
  const groups = new Map<string, ExecutionEntry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.body.campaign);
    if (group === undefined) groups.set(entry.body.campaign, [entry]);
    else group.push(entry);
  }
  return groups;
};
