/** Uploads in tests, whole or in whatever parts a test wants. */
import { createHash } from 'node:crypto';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import type {
  FirmwareImage,
  UploadFirmwareRequest,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import type { MetadataFile } from '@holdfast/provisioning/firmware/metadata-file';
import type { TestManifest } from '@holdfast/provisioning/firmware/test-releases';
import type { ApiUnderTest } from './cloud-under-test.js';

export type UploadPart = NonNullable<UploadFirmwareRequest['part']>;

export const manifestOf = (
  image: Uint8Array,
  { model = 'pi', version = '2.0' }: { readonly model?: string; readonly version?: string } = {},
): UploadPart => ({
  $case: 'manifest',
  value: {
    name: '',
    model,
    version,
    sizeBytes: BigInt(image.length),
    sha256: createHash('sha256').update(image).digest('hex'),
    createTime: undefined,
    fileName: 'image.bin',
    problem: '',
    target: '',
    signedBy: '',
    hardware: [],
    sourceVersions: '',
    securityCounter: 0n,
    installer: '',
    part: '',
    deltas: [],
  },
});

/** Metadata that has it signed, with all that was signed before. */
export const signatureOf = (
  { releases }: Pick<ApiUnderTest, 'releases'>,
  image: Uint8Array,
  {
    model = 'pi',
    version = '2.0',
    ...said
  }: Partial<Pick<TestManifest, 'model' | 'version' | 'security_counter' | 'hardware'>> = {},
): UploadPart[] => {
  releases.add({ model, version, image, ...said });
  return releases.metadata().map((file) => metadataPart(file));
};

const metadataPart = ({ role, version, signed }: MetadataFile): UploadPart => ({
  $case: 'metadata',
  value: { role, version: BigInt(version), signed, publishTime: undefined, expireTime: undefined },
});

export const chunk = (bytes: Uint8Array): UploadPart => ({
  $case: 'chunk',
  value: Buffer.from(bytes),
});

const chunkBytes = 1024 * 1024;

/** An upload under way. */
export const openUpload = (api: ApiUnderTest) => {
  let settle: { resolve(image: FirmwareImage): void; reject(error: unknown): void } | undefined;
  const stored = new Promise<FirmwareImage>((resolve, reject) => {
    settle = { resolve, reject };
  });
  stored.catch(() => undefined);
  const call = api.firmware.uploadFirmware(api.metadata, (error, image) => {
    if (error === null) settle?.resolve(image);
    else settle?.reject(fromServiceError(error, api.address));
  });
  return {
    call,
    stored,
    send: (...parts: UploadPart[]): void => {
      for (const part of parts) call.write({ part });
    },
  };
};

/** Uploads an image in chunks of 1 MiB, signed. */
export const uploadImage = (
  api: ApiUnderTest,
  image: Uint8Array,
  named?: {
    readonly model?: string;
    readonly version?: string;
    readonly security_counter?: number;
    readonly hardware?: string[];
  },
): Promise<FirmwareImage> => {
  const { call, stored, send } = openUpload(api);
  send(...signatureOf(api, image, named), manifestOf(image, named));
  for (let at = 0; at < image.length; at += chunkBytes) {
    send(chunk(image.subarray(at, at + chunkBytes)));
  }
  call.end();
  return stored;
};
