/** What several commands ask the control plane about campaigns. */
import type {
  Campaign,
  Execution,
  ExecutionStep,
  SiteProgress,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { CloudClient } from '../../cloud-client.js';
import { collect, eachPage } from '../../context.js';

const pageSize = 1000;

export const getCampaign = (client: CloudClient, id: string): Promise<Campaign> =>
  client.call(client.campaigns, client.campaigns.getCampaign, { name: `campaigns/${id}` });

export const listCampaigns = (client: CloudClient): Promise<Campaign[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.campaigns, client.campaigns.listCampaigns, {
        pageSize,
        pageToken,
      });
      return { items: page.campaigns, nextPageToken: page.nextPageToken };
    }),
  );

export const listExecutions = (client: CloudClient, id: string): Promise<Execution[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.campaigns, client.campaigns.listExecutions, {
        parent: `campaigns/${id}`,
        pageSize,
        pageToken,
      });
      return { items: page.executions, nextPageToken: page.nextPageToken };
    }),
  );

/** Of one execution (`{site}:{device}`), or of all (`-`). */
export const eachStep = (
  client: CloudClient,
  id: string,
  execution: string,
): AsyncGenerator<ExecutionStep> =>
  eachPage(async (pageToken) => {
    const page = await client.call(client.campaigns, client.campaigns.listExecutionSteps, {
      parent: `campaigns/${id}/executions/${execution}`,
      pageSize,
      pageToken,
    });
    return { items: page.steps, nextPageToken: page.nextPageToken };
  });

export const eachSite = (client: CloudClient, id: string): AsyncGenerator<SiteProgress> =>
  eachPage(async (pageToken) => {
    const page = await client.call(client.campaigns, client.campaigns.listCampaignProgress, {
      parent: `campaigns/${id}`,
      pageSize,
      pageToken,
    });
    return { items: page.sites, nextPageToken: page.nextPageToken };
  });
