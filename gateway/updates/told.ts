/** How an execution is told to its device on the job topics. */

import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { UpdateDocument } from '@holdfast/protos/mqtt/update-document';
import { firmwarePath } from '../firmware/signed-url.js';
import { type Campaign, imageOf } from './campaign.js';
import type { Execution } from './execution-state.js';

/** The deltas of an image that devices can have here. */
export type DeltasOf = (sha256: string) => readonly FirmwareDelta[];

export const jobOf = (
  campaign: Campaign,
  execution: Execution,
  deltasOf: DeltasOf = () => [],
): JobExecutionPayload => ({
  job_id: campaign.id,
  version: execution.version,
  status: execution.status,
  document: campaign.body.document ?? updateDocumentOf(campaign, execution, deltasOf),
});

const updateDocumentOf = (
  campaign: Campaign,
  execution: Execution,
  deltasOf: DeltasOf,
): JsonObject => {
  const image = imageOf(campaign, execution);
  if (image === undefined) return {};
  const deltas = deltasOf(image.sha256).map(({ from_sha256, format, sha256, size_bytes }) => ({
    ...{ from_sha256, url: firmwarePath(sha256), format, sha256, size_bytes },
  }));
  const document: UpdateDocument = {
    operation: 'update',
    campaign_id: campaign.id,
    model: image.model,
    version: image.version,
    url: firmwarePath(image.sha256),
    sha256: image.sha256,
    size_bytes: image.size_bytes,
    ...(deltas.length > 0 && { deltas }),
  };
  // An interface has no index signature; its fields are all JSON.
  return document as unknown as JsonObject;
};
