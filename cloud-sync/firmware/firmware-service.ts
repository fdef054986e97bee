/** The service Firmware: the images that campaigns install. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type FirmwareImage, FirmwareService } from '@holdfast/protos/gen/holdfast/v1/firmware';
import { type ApiService, apiService } from '../api/service.js';
import type { BlobStore } from '../blobs/blob-store.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine } from '../store/sql-engine.js';
import {
  type FirmwareLibrary,
  type FirmwareRow,
  isFirmwareId,
  requireFirmware,
} from './firmware-library.js';
import { readUpload } from './upload-stream.js';

export interface FirmwareServiceDependencies {
  readonly engine: SqlEngine;
  readonly library: FirmwareLibrary;
  readonly blobs: Pick<BlobStore, 'sizeOf'>;
  readonly onUploaded?: () => void;
}

export interface FirmwareServiceOptions {
  /** An upload of which nothing comes for so long is given up. */
  readonly uploadIdleMs?: number;
}

const scope = 'firmware';

export const firmwareService = (
  { engine, library, blobs, onUploaded }: FirmwareServiceDependencies,
  { uploadIdleMs = 60_000 }: FirmwareServiceOptions = {},
): ApiService => {
  const messageOf = async (row: FirmwareRow): Promise<FirmwareImage> =>
    firmwareMessage(row, (await blobs.sizeOf(row.sha256)) === row.size_bytes);
  return apiService(FirmwareService, {
    uploadFirmware: async (requests, { signal }) => {
      const options = { signal, idleTimeoutMs: uploadIdleMs };
      const { manifest, chunks } = await readUpload(requests, options);
      const { model, version, sha256, fileName } = manifest;
      // Sizes beyond what a number holds exactly are beyond every limit too.
      const sizeBytes = Number(manifest.sizeBytes);
      const row = await library.upload({ model, version, sha256, sizeBytes, fileName }, chunks);
      onUploaded?.();
      return messageOf(row);
    },

    getFirmware: async ({ name }) =>
      messageOf(await requireFirmware(engine.read, parseFirmwareName(name))),

    listFirmware: async (request) => {
      const page = readPage(request, scope, ['']);
      let query = engine.read.selectFrom('firmware').selectAll();
      if (page.after !== undefined) query = query.where('firmware_id', '>', page.after[0]);
      const rows = await query
        .orderBy('firmware_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ firmware_id }) => [firmware_id]);
      const firmware = await Promise.all(cut.rows.map(messageOf));
      return { firmware, nextPageToken: cut.nextPageToken };
    },

    deleteFirmware: async ({ name }) => {
      await library.delete(parseFirmwareName(name));
      return {};
    },
  });
};

/** The id in `firmware/{model}@{version}`. Errors: REQUEST_INVALID. */
export const parseFirmwareName = (name: string): string => {
  const [collection, id = '', ...more] = name.split('/');
  if (collection === 'firmware' && isFirmwareId(id) && more.length === 0) return id;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${name.slice(0, 200)}" is no name of the form firmware/{model}@{version}`,
  );
};

export const firmwareName = (id: string): string => `firmware/${id}`;

const firmwareMessage = (row: FirmwareRow, isWhole: boolean): FirmwareImage => ({
  name: firmwareName(row.firmware_id),
  model: row.model,
  version: row.version,
  sizeBytes: BigInt(row.size_bytes),
  sha256: row.sha256,
  createTime: new Date(row.created_at),
  fileName: row.file_name,
  problem: isWhole ? '' : 'the image was damaged on disk, or is gone: upload it again',
});
