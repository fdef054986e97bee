/** What the columns of a campaign hold as JSON: written by this program, read with what those that came later stand for in older rows. */
import {
  type CampaignPhase,
  type CampaignPolicy,
  type CampaignTarget,
  everyDevice,
  onePhase,
  plainCare,
} from '@holdfast/protos/link/campaign-document';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { CampaignRow } from './campaign-records.js';

/** A phase as it was asked for; whether it is released follows from what became of it. */
export type PhaseDefinition = Omit<CampaignPhase, 'released'>;

/** Before there were several models, a target had one. */
type StoredTarget = Partial<CampaignTarget> & { readonly model?: string };

// What these columns hold was written by this program from the types named here.
export const targetOfRow = (row: Pick<CampaignRow, 'target'>): CampaignTarget => {
  const { model, ...stored } = JSON.parse(row.target) as StoredTarget;
  const models = stored.models ?? (model === undefined ? [] : [model]);
  return { ...everyDevice, ...stored, models };
};

export const policyOfRow = (row: Pick<CampaignRow, 'policy'>): CampaignPolicy => ({
  ...plainCare,
  ...(JSON.parse(row.policy) as Omit<CampaignPolicy, keyof typeof plainCare>),
});

export const phasesOfRow = (row: Pick<CampaignRow, 'phases'>): readonly PhaseDefinition[] => {
  const stored = JSON.parse(row.phases) as PhaseDefinition[];
  if (stored.length > 0) return stored;
  const { released: _, ...phase } = onePhase;
  return [phase];
};

/** Ids of its firmware, one a model; none for a plain job. */
export const imagesOfRow = (row: Pick<CampaignRow, 'images' | 'firmware_id'>): string[] => {
  const images = JSON.parse(row.images) as string[];
  return images.length === 0 && row.firmware_id !== '' ? [row.firmware_id] : images;
};

export const documentOfRow = (row: Pick<CampaignRow, 'document'>): JsonObject | null =>
  row.document === null ? null : (JSON.parse(row.document) as JsonObject);

export const allowsOlderOfRow = (row: Pick<CampaignRow, 'allows_older'>): string[] =>
  JSON.parse(row.allows_older) as string[];

/** The sites that a campaign names; empty: every site. */
export const targetSitesOf = (row: Pick<CampaignRow, 'target_sites'>): readonly string[] =>
  JSON.parse(row.target_sites) as string[];
