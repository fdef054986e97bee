/** How an execution is told to its device: on the job topics, or as a command of the older set. */

import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { OlderCommandPayload } from '@holdfast/protos/mqtt/older-payload';
import type { UpdateDocument } from '@holdfast/protos/mqtt/update-document';
import { type Campaign, imageOf } from './campaign.js';
import type { Execution } from './execution-state.js';

/** Path of a firmware below the gateway's HTTPS address. */
export const firmwarePath = (sha256: string): string => `/firmware/sha256/${sha256}`;

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

/** `httpsAddress`: `https://host:port` of the gateway as devices reach it. Undefined for a plain job, which the older set has no words for. */
export const olderCommandOf = (
  campaign: Campaign,
  execution: Execution,
  httpsAddress: string,
): OlderCommandPayload | undefined => {
  const image = imageOf(campaign, execution);
  return (
    image && {
      command: 'ota_update',
      version: image.version,
      url: `${httpsAddress}${firmwarePath(image.sha256)}`,
      checksum: `sha256:${image.sha256}`,
      size_bytes: image.size_bytes,
      campaign_id: campaign.id,
    }
  );
};
