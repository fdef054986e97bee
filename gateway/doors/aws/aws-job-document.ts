/** What a device is told to do: a plain job's document word for word, or an update with an address that is signed as it is told. */
import type { AwsImageSignature, AwsUpdateDocument } from '@holdfast/protos/mqtt/aws-job-document';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { FirmwareUrls } from '../../firmware/signed-url.js';
import type { ExecutionView } from '../../updates/device-executions.js';

export interface AwsJobDocumentDeps {
  readonly urls: Pick<FirmwareUrls, 'path'>;
  /** `https://host:port` of the gateway, as devices reach it. */
  readonly httpsAddress: () => string;
  /** Those over the image's digest, as its release was signed. */
  readonly signaturesOf: (image: FirmwareImage) => readonly AwsImageSignature[];
}

type FirmwareImage = NonNullable<ExecutionView['image']>;

export const awsJobDocument =
  ({ urls, httpsAddress, signaturesOf }: AwsJobDocumentDeps) =>
  ({ campaign, device, image }: ExecutionView): JsonObject => {
    const { document, policy } = campaign.body;
    if (document !== null) return document;
    if (image === null) return {};
    const { model, version, sha256, size_bytes } = image;
    const ttlMs = policy.offer_timeout_ms + policy.download_timeout_ms;
    const signatures = signaturesOf(image);
    const update: AwsUpdateDocument = {
      operation: 'update',
      campaign_id: campaign.id,
      ...{ model, version },
      url: `${httpsAddress()}${urls.path({ device, sha256 }, ttlMs)}`,
      ...{ sha256, size_bytes },
      ...(signatures.length === 0 ? {} : { image_signatures: signatures }),
    };
    // An interface has no index signature; its fields are all JSON.
    return update as unknown as JsonObject;
  };
