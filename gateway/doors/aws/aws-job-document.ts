/** What a device is told to do: a plain job's document word for word, or an update with an address that is signed as it is told. */
import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { AwsImageSignature, AwsUpdateDocument } from '@holdfast/protos/mqtt/aws-job-document';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { FirmwareUrls } from '../../firmware/signed-url.js';
import type { ExecutionView } from '../../updates/device-executions.js';

export interface AwsJobDocumentDeps {
  readonly urls: Pick<FirmwareUrls, 'path'>;
  /** `https://host:port` of the gateway, as devices reach it. */
  readonly httpsAddress: () => string;
  /** The deltas of an image that devices can have here. */
  readonly deltasOf: (sha256: string) => readonly FirmwareDelta[];
  /** Those over the image's digest, as its release was signed. */
  readonly signaturesOf: (image: FirmwareImage) => readonly AwsImageSignature[];
}

type FirmwareImage = NonNullable<ExecutionView['image']>;

export const awsJobDocument =
  ({ urls, httpsAddress, deltasOf, signaturesOf }: AwsJobDocumentDeps) =>
  ({ campaign, device, image }: ExecutionView): JsonObject => {
    const { document, policy } = campaign.body;
    if (document !== null) return document;
    if (image === null) return {};
    const { model, version, sha256, size_bytes } = image;
    const ttlMs = policy.offer_timeout_ms + policy.download_timeout_ms;
    const signatures = signaturesOf(image);
    const urlOf = (digest: string): string =>
      `${httpsAddress()}${urls.path({ device, sha256: digest }, ttlMs)}`;
    const deltas = deltasOf(sha256).map((delta) => ({
      ...{ from_sha256: delta.from_sha256, url: urlOf(delta.sha256), format: delta.format },
      ...{ sha256: delta.sha256, size_bytes: delta.size_bytes },
    }));
    const update: AwsUpdateDocument = {
      operation: 'update',
      campaign_id: campaign.id,
      ...{ model, version },
      url: urlOf(sha256),
      ...{ sha256, size_bytes },
      ...(deltas.length === 0 ? {} : { deltas }),
      ...(signatures.length === 0 ? {} : { image_signatures: signatures }),
    };
    // An interface has no index signature; its fields are all JSON.
    return update as unknown as JsonObject;
  };
