/** How an execution is told to its device: on the job topics, or as a command of the older set. */
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { OlderCommandPayload } from '@holdfast/protos/mqtt/older-payload';
import type { UpdateDocument } from '@holdfast/protos/mqtt/update-document';
import type { Campaign } from './campaign.js';
import type { Execution } from './execution-state.js';

/** Path of a firmware below the gateway's HTTPS address. */
export const firmwarePath = (sha256: string): string => `/firmware/sha256/${sha256}`;

export const jobOf = (
  { id, firmware }: Campaign,
  { status, version }: Execution,
): JobExecutionPayload => {
  const document: UpdateDocument = {
    operation: 'update',
    campaign_id: id,
    model: firmware.model,
    version: firmware.version,
    url: firmwarePath(firmware.sha256),
    sha256: firmware.sha256,
    size_bytes: firmware.size_bytes,
  };
  // An interface has no index signature; its fields are all JSON.
  return { job_id: id, version, status, document: document as unknown as JsonObject };
};

/** `httpsAddress`: `https://host:port` of the gateway as devices reach it. */
export const olderCommandOf = (
  { id, firmware }: Campaign,
  httpsAddress: string,
): OlderCommandPayload => ({
  command: 'ota_update',
  version: firmware.version,
  url: `${httpsAddress}${firmwarePath(firmware.sha256)}`,
  checksum: `sha256:${firmware.sha256}`,
  size_bytes: firmware.size_bytes,
  campaign_id: id,
});
