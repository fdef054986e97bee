/** Parts of the image of a job, for a device that pulls them: only while the job is open, and read from the disk as they are asked for. */
import { open } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { parseUpdateDocument, type UpdateDocument } from '@holdfast/protos/mqtt/update-document';
import type { JobAnswer } from '../../devices/device-events.js';
import type { HeldImage } from '../../firmware/held-images.js';

export interface ImagePart {
  readonly offset: number;
  readonly length: number;
}

/** Before the restart: then an offer stands, and its image is to be had. */
const openStatuses: ReadonlySet<string> = new Set([
  'offered',
  'downloading',
  'verifying',
  'installing',
]);

export const isOpenJob = ({ status }: JobExecutionPayload): boolean => openStatuses.has(status);

/** The update that a job stands for. RESOURCE_NOT_FOUND, RESOURCE_CONFLICT when it is over: then the device is to give it up. */
export const updateOf = (answer: JobAnswer): UpdateDocument => {
  if (!answer.accepted) throw refusalOf(answer);
  const { execution } = answer;
  if (execution === null) throw new HoldfastError('RESOURCE_NOT_FOUND', 'There is no such job');
  if (!isOpenJob(execution)) {
    throw new HoldfastError('RESOURCE_CONFLICT', `The job is ${execution.status}`);
  }
  const document = parseUpdateDocument(execution.document);
  if (!document.ok) throw new HoldfastError('REQUEST_INVALID', document.reason);
  return document.value;
};

export const refusalOf = ({ code, message }: JobAnswer & { readonly accepted: false }) =>
  new HoldfastError(refusals[code], message);

const refusals = {
  404: 'RESOURCE_NOT_FOUND',
  409: 'RESOURCE_CONFLICT',
  // It is no answer to a line, so the device says it again.
  423: 'UPDATE_WINDOW_CLOSED',
} as const;

export interface ImageSource {
  get(sha256: string): Promise<HeldImage | undefined>;
  /** It could not be read as it should. */
  check(sha256: string): Promise<void>;
}

/** REQUEST_INVALID behind its end, STORE_UNAVAILABLE while it is not here. */
export const readImage = async (
  firmware: ImageSource,
  { sha256, size_bytes: sizeBytes }: UpdateDocument,
  { offset, length }: ImagePart,
): Promise<Buffer> => {
  if (offset >= sizeBytes) {
    throw new HoldfastError('REQUEST_INVALID', `The image has ${sizeBytes} bytes`);
  }
  const held = await firmware.get(sha256);
  if (held === undefined) throw new HoldfastError('STORE_UNAVAILABLE', 'The image is not here');
  const part = Buffer.alloc(Math.min(length, sizeBytes - offset));
  const file = await open(held.path, 'r');
  let read = 0;
  try {
    while (read < part.length) {
      const { bytesRead } = await file.read(part, read, part.length - read, offset + read);
      if (bytesRead === 0) break;
      read += bytesRead;
    }
  } finally {
    await file.close();
  }
  if (read < part.length) {
    await firmware.check(sha256);
    throw new HoldfastError('STORE_UNAVAILABLE', 'The image is not whole any more');
  }
  return part;
};
