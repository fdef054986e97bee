/** `holdfast firmware`: the images that campaigns install. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import type {
  FirmwareImage,
  UploadFirmwareRequest,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { inNaturalOrder } from '../natural-order.js';
import { ago, bytes, type Terminal } from '../terminal.js';
import { idOf } from './sites.js';

const chunkBytes = 256 * 1024;

export const addFirmwareCommands = (program: Command, context: () => CommandContext): void => {
  const firmware = program.command('firmware').description('the firmware that campaigns install');

  firmware
    .command('upload <file>')
    .description('upload an image; it is read twice, once for its digest, and never held whole')
    .requiredOption('--model <model>', 'the model of the devices it is for')
    .requiredOption('--version <version>', 'its version, as devices report it')
    .action(async (file: string, options: { model: string; version: string }) => {
      const { terminal, cloud, signal } = context();
      const sizeBytes = await sizeOf(file);
      const sha256 = await digestOf(file, signal);
      const client = await cloud();
      const image = await upload(
        client,
        terminal,
        { file, sizeBytes, sha256, model: options.model, version: options.version },
        signal,
      );
      terminal.json(image);
      terminal.line(
        `${terminal.paint('green', '✓')} ${idOf(image.name)}  ${bytes(sizeBytes)}  sha256 ${image.sha256.slice(0, 12)}…`,
      );
      terminal.line(`  next: holdfast campaign create ID --firmware ${idOf(image.name)}`);
    });

  firmware
    .command('list')
    .description('every image')
    .action(async () => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const images = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.firmware, client.firmware.listFirmware, {
            pageSize: 1000,
            pageToken,
          });
          return { items: page.firmware, nextPageToken: page.nextPageToken };
        }),
      );
      terminal.table(
        inNaturalOrder(images, ({ name }) => name),
        [
          { title: 'FIRMWARE', value: (image) => idOf(image.name) },
          { title: 'SIZE', value: (image) => bytes(Number(image.sizeBytes)) },
          { title: 'SHA-256', value: (image) => `${image.sha256.slice(0, 12)}…` },
          { title: 'UPLOADED', value: (image) => ago(image.createTime, now()) },
          ...(images.some(({ problem }) => problem !== '')
            ? [{ title: 'PROBLEM', value: ({ problem }: FirmwareImage) => problem }]
            : []),
        ],
        'No firmware yet: holdfast firmware upload FILE --model MODEL --version VERSION',
      );
    });
};

interface Image {
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly model: string;
  readonly version: string;
}

const upload = async (
  client: CloudClient,
  terminal: Terminal,
  image: Image,
  signal: AbortSignal,
): Promise<FirmwareImage> => {
  const bar = terminal.isInteractive ? progressBar() : undefined;
  bar?.start(image.sizeBytes, 0);
  try {
    return await new Promise<FirmwareImage>((resolve, reject) => {
      const call = client.firmware.uploadFirmware(client.metadata, (error, response) => {
        if (error === null) resolve(response);
        else reject(fromServiceError(error, call.getPeer()));
      });
      signal.addEventListener('abort', () => call.cancel(), { once: true });
      const write = (request: UploadFirmwareRequest): Promise<void> =>
        new Promise((written) => {
          // A failed call ends in the callback above; a write after it must not wait for ever.
          if (call.write(request)) written();
          else call.once('drain', written).once('error', () => written());
        });
      sendAll(write, image, (sent) => bar?.update(sent)).then(
        () => call.end(),
        (error: unknown) => {
          call.cancel();
          reject(error);
        },
      );
    });
  } finally {
    bar?.stop();
  }
};

const sendAll = async (
  write: (request: UploadFirmwareRequest) => Promise<void>,
  image: Image,
  onSent: (sentBytes: number) => void,
): Promise<void> => {
  await write({
    part: {
      $case: 'manifest',
      value: {
        name: '',
        model: image.model,
        version: image.version,
        sizeBytes: BigInt(image.sizeBytes),
        sha256: image.sha256,
        createTime: undefined,
        fileName: basename(image.file),
        problem: '',
      },
    },
  });
  let sent = 0;
  for await (const chunk of createReadStream(image.file, { highWaterMark: chunkBytes })) {
    await write({ part: { $case: 'chunk', value: chunk } });
    sent += chunk.length;
    onSent(sent);
  }
};

const progressBar = (): SingleBar =>
  new SingleBar({
    format: 'uploading {bar} {percentage}% · {value}/{total} bytes · {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
  });

const sizeOf = async (file: string): Promise<number> => {
  const found = await stat(file).catch((error: unknown) => {
    throw new HoldfastError('REQUEST_INVALID', `can't read ${file}: ${messageOf(error)}`, {
      cause: error,
    });
  });
  if (!found.isFile() || found.size === 0) {
    throw new HoldfastError('REQUEST_INVALID', `${file} is not a file with something in it`);
  }
  return found.size;
};

const digestOf = async (file: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { signal })) hash.update(chunk);
  return hash.digest('hex');
};
