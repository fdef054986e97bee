/** One campaign as a person looks at it: what it is, its phases with bars, and the sites. */
import type {
  Campaign,
  CampaignPhase,
  SiteProgress,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { PhaseState } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { ago, type Column, type Terminal } from '../../terminal.js';
import { idOf } from '../sites.js';
import {
  contentOf,
  overOf,
  phaseStateOf,
  progressOf,
  rowOf,
  siteStateOf,
  stateColour,
  stateOf,
} from './campaign-rows.js';
import { formatPhase } from './phase-option.js';
import { progressBar } from './progress-bar.js';

/** Sites that are shown with a campaign; `progress` shows all. */
export const sitesShown = 12;

export interface CampaignView {
  readonly campaign: Campaign;
  /** At most `sitesShown` and one more. */
  readonly sites: readonly SiteProgress[];
}

export const showCampaign = (
  terminal: Terminal,
  { campaign, sites }: CampaignView,
  now: number,
): void => {
  terminal.json({ ...rowOf(campaign), sites });
  if (terminal.isJson) return;
  terminal.fields(undefined, fieldsOf(terminal, campaign, now));
  if (campaign.progress !== undefined && campaign.progress.total > 0n) {
    terminal.line();
    terminal.line(`${progressBar(terminal, campaign.progress, 40)}  ${progressOf(campaign)}`);
  }
  if (campaign.phases.length > 1 || campaign.phases.some(({ approval }) => approval)) {
    terminal.line();
    terminal.table(campaign.phases, phaseColumns(terminal), '');
    for (const { number, waitsFor } of campaign.phases) {
      if (waitsFor !== '') terminal.line(` phase ${number} waits for ${waitsFor}`);
    }
  }
  if (sites.length > 0) {
    terminal.line();
    terminal.table(sites.slice(0, sitesShown), siteColumns(terminal, campaign), '');
  }
  const more = campaign.siteCount - sitesShown;
  if (more > 0) {
    const id = idOf(campaign.name);
    terminal.line(terminal.paint('dim', `… and ${more} more: holdfast campaign progress ${id}`));
  }
  const next = nextStep(campaign);
  if (next !== undefined) terminal.line(`\n  next: ${next}`);
};

/** What a person would do now; undefined where there is nothing to do but wait. */
export const nextStep = (campaign: Campaign): string | undefined => {
  const id = idOf(campaign.name);
  const state = stateOf(campaign);
  if (state === 'draft') return `holdfast campaign start ${id}`;
  if (state === 'paused') {
    const resume = `holdfast campaign resume ${id} goes on`;
    return campaign.progress !== undefined &&
      campaign.progress.failed + campaign.progress.rolledBack > 0n
      ? `holdfast campaign executions ${id} shows what failed, ${resume}`
      : resume;
  }
  if (state !== 'running') return undefined;
  if (campaign.pausedSiteCount > 0) {
    return `holdfast campaign progress ${id} shows which sites paused it, holdfast campaign resume ${id} goes on there`;
  }
  const waiting = campaign.phases.find(({ state }) => state === PhaseState.PHASE_STATE_WAITING);
  if (waiting === undefined) return undefined;
  return waiting.waitsFor.startsWith('approval')
    ? `holdfast campaign approve ${id} --phase ${waiting.number}`
    : `phase ${waiting.number} begins by itself; holdfast campaign release ${id} --phase ${waiting.number} does not wait`;
};

const fieldsOf = (
  terminal: Terminal,
  campaign: Campaign,
  now: number,
): (readonly [string, string | undefined])[] => {
  const { target, policy } = campaign;
  const state = stateOf(campaign);
  const colour = stateColour(state);
  const shown = colour === undefined ? state : terminal.paint(colour, state);
  const some = (values: readonly string[] | undefined, all: string): string =>
    values === undefined || values.length === 0 ? all : few(values.map(idOf));
  const labels = Object.entries(target?.attributes ?? {}).map(([key, value]) => `${key}=${value}`);
  const isJob = campaign.document !== undefined;
  const hasTarget = (values: readonly string[] | undefined) => (values?.length ?? 0) > 0;
  return [
    [isJob ? 'job' : 'campaign', idOf(campaign.name)],
    ...(isJob
      ? ([['document', cut(JSON.stringify(campaign.document))]] as const)
      : ([['images', contentOf(campaign)]] as const)),
    ['state', `${shown}${stateReason(campaign, now)}`],
    ...(campaign.rollbackOf === '' ? [] : ([['takes back', idOf(campaign.rollbackOf)]] as const)),
    ['sites', some(target?.sites, 'every site')],
    ...(hasTarget(target?.models) ? ([['models', some(target?.models, '')]] as const) : []),
    ...(hasTarget(target?.groups) ? ([['groups', some(target?.groups, '')]] as const) : []),
    ...(labels.length > 0 ? ([['labels', labels.join(', ')]] as const) : []),
    ...(hasTarget(target?.deviceIds) ? ([['devices', some(target?.deviceIds, '')]] as const) : []),
    ...(hasTarget(target?.currentVersions)
      ? ([['from version', some(target?.currentVersions, '')]] as const)
      : []),
    ...(target?.versionRange ? ([['versions', target.versionRange]] as const) : []),
    ['late joiners', target?.lateJoiners === false ? 'left out' : 'take part'],
    ['at once', `${policy?.siteConcurrency ?? 0} a site${budgetsOf(campaign)}`],
    ['created', `${ago(campaign.createTime, now)} by ${campaign.creator || 'unknown'}`],
    ...(campaign.startTime === undefined
      ? []
      : ([['started', ago(campaign.startTime, now)]] as const)),
    ...(campaign.endTime === undefined ? [] : ([['ended', ago(campaign.endTime, now)]] as const)),
    [
      'heard of',
      `${campaign.reportingSiteCount} of ${campaign.siteCount} sites, ${campaign.settledSiteCount} through${campaign.pausedSiteCount > 0 ? `, ${campaign.pausedSiteCount} paused` : ''}`,
    ],
  ];
};

const stateReason = (campaign: Campaign, now: number): string => {
  switch (stateOf(campaign)) {
    case 'paused':
      return ` ${ago(campaign.pauseTime, now)} by ${campaign.pausedBy}${campaign.pauseReason === '' ? '' : `: ${campaign.pauseReason}`}`;
    case 'scheduled':
      return ` for ${campaign.scheduledTime?.toISOString() ?? ''}`;
    case 'cancelling':
    case 'cancelled':
      return campaign.cancelReason === '' ? '' : `: ${campaign.cancelReason}`;
    default:
      return '';
  }
};

const budgetsOf = ({ policy }: Campaign): string =>
  (policy?.disruption ?? [])
    .map(({ group, maxUnavailable, minAvailable }) => {
      const limits = [
        ...(maxUnavailable === undefined ? [] : [`at most ${maxUnavailable} away`]),
        ...(minAvailable === undefined ? [] : [`at least ${minAvailable} there`]),
      ];
      return `; of ${group === '' ? "the site's devices" : idOf(group)} ${limits.join(', ')}`;
    })
    .join('');

const few = (values: readonly string[]): string =>
  values.length > 6
    ? `${values.slice(0, 6).join(', ')} and ${values.length - 6} more`
    : values.join(', ');

const cut = (text: string): string => (text.length > 100 ? `${text.slice(0, 99)}…` : text);

const doneOf = (progress: Campaign['progress']): string =>
  `${overOf(progress)}/${progress?.total ?? 0n}`;

const phaseColumns = (terminal: Terminal): readonly Column<CampaignPhase>[] => [
  { title: 'PHASE', value: (phase) => phase.number },
  { title: 'ASKED FOR', value: (phase) => formatPhase(phase) },
  {
    title: 'STATE',
    value: phaseStateOf,
    colour: (phase) => stateColour(phaseStateOf(phase)),
  },
  { title: 'PROGRESS', value: (phase) => progressBar(terminal, phase.progress, 16) },
  { title: 'DONE', value: (phase) => doneOf(phase.progress) },
  { title: 'OK', value: (phase) => String(phase.progress?.succeeded ?? 0n) },
  { title: 'FAILED', value: (phase) => failedOf(phase.progress) },
  { title: 'SITES', value: (phase) => phase.enteredSiteCount },
  { title: 'GATE', value: gateOf },
];

const gateOf = (phase: CampaignPhase): string | undefined => {
  if (phase.releasedBy !== '') return `released by ${phase.releasedBy}`;
  if (phase.approvedBy !== '') return `approved by ${phase.approvedBy}`;
  return phase.waitsFor === '' ? undefined : 'shut';
};

const failedOf = (progress: Campaign['progress']): string =>
  String((progress?.failed ?? 0n) + (progress?.rolledBack ?? 0n));

/** One row a site; with several phases, how far it is in each. */
export const siteColumns = (
  terminal: Terminal,
  campaign: Campaign,
): readonly Column<SiteProgress>[] => [
  { title: 'SITE', value: ({ site }) => idOf(site) },
  ...(campaign.phases.length < 2
    ? []
    : campaign.phases.map(
        ({ number }): Column<SiteProgress> => ({
          title: `PHASE ${number}`,
          value: ({ phases }) => {
            const own = phases.find((phase) => phase.number === number)?.progress;
            return own === undefined ? '–' : doneOf(own);
          },
        }),
      )),
  { title: 'PROGRESS', value: ({ progress }) => progressBar(terminal, progress, 16) },
  { title: 'DONE', value: ({ progress }) => doneOf(progress) },
  { title: 'OK', value: ({ progress }) => String(progress?.succeeded ?? 0n) },
  { title: 'FAILED', value: ({ progress }) => failedOf(progress) },
  {
    title: 'STATE',
    value: (site) => siteStateOf(site, campaign.state),
    colour: (site) => (site.pausedBy !== '' ? 'yellow' : site.settled ? 'green' : undefined),
  },
];
