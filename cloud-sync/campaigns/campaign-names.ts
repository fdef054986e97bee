/** Names of campaigns and of their executions, as requests bring them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseName, requireId } from '../api/resource-name.js';

export const parseCampaignName = (name: string): string =>
  parseName(name, 'campaigns/{campaign}')[0] ?? '';

/** Site and device are undefined for `-`: every execution of the campaign. Errors: REQUEST_INVALID. */
export const parseExecutionName = (
  name: string,
): { readonly campaign: string; readonly site?: string; readonly device?: string } => {
  const [, campaign = '', execution = ''] =
    /^campaigns\/([^/]+)\/executions\/([^/]+)$/.exec(name) ?? [];
  const [site = '', device = '', ...more] = execution.split(':');
  if (campaign !== '' && execution === '-') return { campaign: requireId(campaign, 'campaign') };
  if (campaign !== '' && device !== '' && more.length === 0) {
    return {
      campaign: requireId(campaign, 'campaign'),
      site: requireId(site, 'site'),
      device: requireId(device, 'device'),
    };
  }
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${name.slice(0, 200)}" is no name of the form campaigns/{campaign}/executions/{site}:{device}, or with - for all`,
  );
};
