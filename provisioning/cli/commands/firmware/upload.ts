/** `firmware upload`: a signed image and the metadata that has it signed, or the metadata alone. */
import { createReadStream } from 'node:fs';
import type { ClientWritableStream } from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  FirmwareImage,
  type FirmwareMetadata,
  type UploadFirmwareRequest,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import { digestFile, fileSize } from '../../../firmware/image-digests.js';
import { parseTargetName, type TargetParts } from '../../../firmware/manifest.js';
import { type MetadataFile, metadataId } from '../../../firmware/metadata-file.js';
import { targetsContentOf } from '../../../firmware/read-contents.js';
import type { CloudClient } from '../../cloud-client.js';
import type { CommandContext } from '../../context.js';
import { bytes } from '../../terminal.js';
import { idOf } from '../sites.js';
import { withProgress } from './progress.js';
import { readPublished } from './pull.js';
import { metadataFolder, type SigningOptions } from './signing-options.js';

export interface UploadOptions extends SigningOptions {
  readonly model?: string;
  readonly version?: string;
}

const chunkBytes = 256 * 1024;

export const uploadFirmware = async (
  context: CommandContext,
  file: string | undefined,
  options: UploadOptions,
): Promise<void> => {
  const files = await metadataFolder(context, options).read();
  if (file === undefined) return publish(context, files);
  const { terminal, signal } = context;
  const sizeBytes = await fileSize(file);
  const { sha256 } = await withProgress(terminal, 'reading', sizeBytes, (onRead) =>
    digestFile(file, { signal, onRead }),
  );
  const signed = releaseOf(files, file, { sha256, sizeBytes }, options);
  const client = await context.cloud();
  const metadata = await unpublished(client, files, signal);
  const manifest = FirmwareImage.fromPartial({
    ...signed,
    sha256,
    sizeBytes: BigInt(sizeBytes),
  });
  const image = await withProgress(terminal, 'uploading', sizeBytes, (onSent) =>
    send<UploadFirmwareRequest, FirmwareImage>(
      (done) => client.firmware.uploadFirmware(client.metadata, done),
      requestsOf(file, metadata, manifest, onSent),
      signal,
    ),
  );
  terminal.json(image);
  terminal.line(
    `${terminal.paint('green', '✓')} ${idOf(image.name)}  ${bytes(sizeBytes)}  sha256 ${image.sha256.slice(0, 12)}…  signed by ${image.signedBy}`,
  );
  terminal.line(`  next: holdfast campaign create ID --firmware ${idOf(image.name)}`);
};

const publish = async (context: CommandContext, files: readonly MetadataFile[]): Promise<void> => {
  const { terminal, signal } = context;
  if (files.length === 0) {
    throw new HoldfastError('FIRMWARE_METADATA_MISSING', 'nothing has been signed here', {
      data: { next: 'holdfast firmware keys init' },
    });
  }
  const client = await context.cloud();
  const metadata = await unpublished(client, files, signal);
  if (metadata.length > 0) {
    await send<FirmwareMetadata, unknown>(
      (done) => client.firmware.publishMetadata(client.metadata, done),
      metadata.map(messageOf),
      signal,
    );
  }
  terminal.json({ published: metadata.map(({ role, version }) => ({ role, version })) });
  if (metadata.length === 0) terminal.line('All of it is published already');
  for (const each of metadata) {
    terminal.line(`${terminal.paint('green', '✓')} ${each.role}, version ${each.version}`);
  }
};

/** What the control plane does not have yet; it refuses what would go back. */
const unpublished = async (
  client: CloudClient,
  files: readonly MetadataFile[],
  signal: AbortSignal,
): Promise<MetadataFile[]> => {
  const published = new Map(
    (await readPublished(client, signal)).map((file) => [metadataId(file), file.signed]),
  );
  return files.filter((file) => published.get(metadataId(file)) !== file.signed);
};

/** Finds what the bytes are signed as. Errors: FIRMWARE_TARGET_UNKNOWN, REQUEST_INVALID when they are signed more than once. */
const releaseOf = (
  files: readonly MetadataFile[],
  file: string,
  { sha256, sizeBytes }: { readonly sha256: string; readonly sizeBytes: number },
  { model, version }: UploadOptions,
): TargetParts => {
  const found = files
    .filter(({ role }) => role !== 'root')
    .flatMap((each) => Object.entries(targetsContentOf(each).targets))
    .filter(([, said]) => said.hashes.sha256 === sha256 && said.length === sizeBytes)
    .map(([name]) => parseTargetName(name))
    .filter((parts) => parts !== undefined)
    .filter((parts) => model === undefined || parts.model === model)
    .filter((parts) => version === undefined || parts.version === version);
  const [only, ...more] = found;
  if (only !== undefined && more.length === 0) return only;
  if (only === undefined) {
    const named = `--model ${model ?? 'MODEL'} --version ${version ?? 'VERSION'}`;
    throw new HoldfastError('FIRMWARE_TARGET_UNKNOWN', `nobody has signed ${file} as it is`, {
      data: { next: `holdfast firmware sign ${file} ${named}` },
    });
  }
  const names = found.map((parts) => `${parts.model} ${parts.version}`).join(', ');
  throw new HoldfastError(
    'REQUEST_INVALID',
    `the same bytes are signed as ${names}: say which with --model and --version`,
  );
};

const requestsOf = async function* (
  file: string,
  metadata: readonly MetadataFile[],
  manifest: FirmwareImage,
  onSent: (sentBytes: number) => void,
): AsyncGenerator<UploadFirmwareRequest> {
  for (const each of metadata) yield { part: { $case: 'metadata', value: messageOf(each) } };
  yield { part: { $case: 'manifest', value: manifest } };
  let sent = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) {
    yield { part: { $case: 'chunk', value: chunk } };
    sent += chunk.length;
    onSent(sent);
  }
};

const messageOf = ({ role, version, signed }: MetadataFile): FirmwareMetadata => ({
  role,
  version: BigInt(version),
  signed,
  publishTime: undefined,
  expireTime: undefined,
});

/** Writes requests as fast as they are taken. Errors: what the other end answered, what the requests throw. */
const send = <Request, Response>(
  open: (
    done: (error: Parameters<typeof fromServiceError>[0] | null, response: Response) => void,
  ) => ClientWritableStream<Request>,
  requests: Iterable<Request> | AsyncIterable<Request>,
  signal: AbortSignal,
): Promise<Response> =>
  new Promise<Response>((resolve, reject) => {
    const call = open((error, response) => {
      if (error === null) resolve(response);
      else reject(fromServiceError(error, call.getPeer()));
    });
    const cancel = (): void => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    // A call that failed ends in the callback above; what is written after it must not wait for ever.
    let isOver = false;
    call.once('error', () => {
      isOver = true;
    });
    const write = (request: Request): Promise<void> =>
      new Promise((written) => {
        if (call.write(request) || isOver) written();
        else call.once('drain', written).once('error', () => written());
      });
    const writeAll = async (): Promise<void> => {
      for await (const request of requests) {
        if (isOver) return;
        await write(request);
      }
      call.end();
    };
    writeAll()
      .catch((error: unknown) => {
        call.cancel();
        reject(error);
      })
      .finally(() => signal.removeEventListener('abort', cancel));
  });
