/**
 * What a site says of where it stands: that it has its executions, began a phase, paused, waits, is through, or was stopped by hand. The
 * word of a gateway that owns the site no more is history: the audit alone takes it.
 */
import { recordAudit } from '../audit/audit-log.js';
import type { EffectContext, EntryProblem } from '../effects/effect-registry.js';
import { firmwareName } from '../firmware/firmware-service.js';
import type { CampaignEffectsDependencies } from './campaign-effects.js';
import { judgeCampaign } from './campaign-gates.js';
import { campaignName, endIfSettled, requireCampaign } from './campaign-records.js';
import { moveSite, type SiteStanding } from './campaign-sites.js';

export const registerSiteStandingEffects = (deps: CampaignEffectsDependencies): void => {
  const { effects } = deps;
  /** Notes where the site stands, with whatever follows for the campaign. */
  const move = async (
    { tx, site }: EffectContext,
    campaign: string,
    standing: SiteStanding,
  ): Promise<boolean> => {
    if (!(await moveSite(tx, { campaign, site }, standing))) return false;
    await judgeCampaign(deps, tx, await requireCampaign(tx.db, campaign));
    tx.afterCommit(() => deps.signals.publish(`campaign:${campaign}`));
    return true;
  };

  effects.register('state', 'campaign_targeted', async (context, entries) => {
    // Devices may come to be targeted after the site was through.
    for (const { body } of context.isFenced ? [] : entries) {
      await move(context, body.campaign, {
        ...{ reporting: 1, settled: 0, targeted: body.executions },
      });
    }
    return undefined;
  });

  effects.register('state', 'campaign_settled', async (context, entries) => {
    const problems: EntryProblem[] = [];
    for (const { seq, body } of context.isFenced ? [] : entries) {
      if (await move(context, body.campaign, { reporting: 1, settled: 1, waits_for: '' })) {
        await endIfSettled(deps, context.tx, body.campaign);
      } else {
        problems.push({ seq, problem: 'the site does not carry this campaign out' });
      }
    }
    return problems;
  });

  effects.register('state', 'campaign_phase', async (context, entries) => {
    for (const { body } of context.isFenced ? [] : entries) {
      await move(context, body.campaign, { phase: body.phase + 1 });
    }
    return undefined;
  });

  effects.register('state', 'campaign_waits', async (context, entries) => {
    for (const { body } of context.isFenced ? [] : entries) {
      await move(context, body.campaign, { waits_for: body.reason ?? '' });
    }
    return undefined;
  });

  effects.register('state', 'campaign_paused', async (context, entries) => {
    for (const { at, body } of entries) {
      const { campaign, reason, by } = body;
      if (!context.isFenced) {
        const paused = { pause_reason: reason, paused_by: by, paused_at: at };
        await move(context, campaign, paused);
      }
      await auditSite(context, at, {
        action: 'campaign.paused',
        actor: siteActor(by),
        resource: campaignName(campaign),
        reason,
      });
    }
    return undefined;
  });

  effects.register('state', 'campaign_resumed', async (context, entries) => {
    for (const { at, body } of entries) {
      const { campaign, by } = body;
      if (!context.isFenced) {
        await move(context, campaign, { pause_reason: '', paused_by: '', paused_at: null });
      }
      await auditSite(context, at, {
        action: 'campaign.resumed',
        actor: siteActor(by),
        resource: campaignName(campaign),
      });
    }
    return undefined;
  });

  effects.register('audit', 'emergency_stop', async (context, entries) => {
    for (const { at, body } of entries) {
      const { by, reason, lifted, stopped_at } = body;
      if (!context.isFenced) await noteLocalStop(context, { by, reason, lifted, at: stopped_at });
      await auditSite(context, at, {
        action: lifted ? 'emergency_stop.lifted' : 'emergency_stop.made',
        actor: siteActor(by),
        reason,
      });
    }
    return undefined;
  });

  effects.register('audit', 'firmware_refused', async (context, entries) => {
    for (const { at, body } of entries) {
      await auditSite(context, at, {
        action: 'firmware.refused',
        actor: 'site',
        resource: firmwareName(body.firmware),
        reason: body.message,
        details: { code: body.code },
      });
    }
    return undefined;
  });

  effects.register('audit', 'change_requested', async (context, entries) => {
    for (const { at, body } of entries) {
      await auditSite(context, at, {
        action: 'site.change_requested',
        actor: siteActor(body.actor),
        details: { method: body.method, path: body.path },
      });
    }
    return undefined;
  });
};

/**
 * One name for a person at a site, whichever entry names it; what the site or the plan did by itself keeps its name. Nobody of a site passes
 * for somebody of the control plane.
 */
const siteActor = (by: string): string =>
  by === 'site' || by === 'cloud' || by === 'plan' || by.startsWith('site:') ? by : `site:${by}`;

const auditSite = (
  { tx, site, now, isFenced }: EffectContext,
  at: number,
  act: Omit<Parameters<typeof recordAudit>[2], 'at' | 'site'>,
): Promise<void> =>
  recordAudit(tx, now, {
    ...act,
    at,
    site,
    details: { ...act.details, ...(isFenced ? { gateway: 'replaced' } : {}) },
  });

/** One that came with the plan is known here already. */
const noteLocalStop = async (
  { tx, site }: EffectContext,
  {
    by,
    reason,
    lifted,
    at,
  }: {
    readonly by: string;
    readonly reason: string;
    readonly lifted: boolean;
    readonly at: number;
  },
): Promise<void> => {
  if (by === 'cloud' || by.startsWith('cloud:')) return;
  if (lifted) {
    await tx.db
      .deleteFrom('emergency_stops')
      .where('site_id', '=', site)
      .where('is_local', '=', 1)
      .execute();
    return;
  }
  await tx.db
    .insertInto('emergency_stops')
    .values({ site_id: site, is_local: 1, reason, actor: siteActor(by), at })
    .onConflict((c) =>
      c.columns(['site_id', 'is_local']).doUpdateSet({ reason, actor: siteActor(by), at }),
    )
    .execute();
};
