/** The service Firmware: the images that campaigns install. */

import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type FirmwareImage,
  type FirmwareMetadata,
  FirmwareService,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { FirmwareManifest } from '@holdfast/provisioning/firmware/manifest';
import { releaseVerifier } from '@holdfast/provisioning/firmware/verify-release';
import { type ApiService, apiService } from '../api/service.js';
import { auditActor } from '../audit/audit-log.js';
import type { BlobStore } from '../blobs/blob-store.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { deltasOf } from './firmware-deltas.js';
import {
  type FirmwareLibrary,
  type FirmwareRow,
  isFirmwareId,
  requireFirmware,
} from './firmware-library.js';
import {
  type PublishDependencies,
  preparePublication,
  publish,
  readMetadata,
} from './firmware-metadata.js';
import { readMetadataUpload, readUpload } from './upload-stream.js';

export interface FirmwareServiceDependencies extends PublishDependencies {
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
  deps: FirmwareServiceDependencies,
  { uploadIdleMs = 60_000 }: FirmwareServiceOptions = {},
): ApiService => {
  const { engine, library, blobs, now, onUploaded } = deps;
  /** As sites and devices judge it now, whose metadata is the same. */
  const messagesOf = async (rows: readonly FirmwareRow[]): Promise<FirmwareImage[]> => {
    const deltas = await deltasOf(
      engine.read,
      rows.map(({ firmware_id }) => firmware_id),
    );
    const { trusted, files } = await readMetadata(engine.read);
    const judge = releaseVerifier(trusted, files, now(), { head: null });
    return Promise.all(
      rows.map(async (row) => {
        const isWhole = (await blobs.sizeOf(row.sha256)) === row.size_bytes;
        const problem = problemOf(row, isWhole, judge);
        return firmwareMessage(row, problem, deltas.get(row.firmware_id) ?? []);
      }),
    );
  };
  const messageOf = async (row: FirmwareRow): Promise<FirmwareImage> => {
    const [message] = await messagesOf([row]);
    // One row gives one message.
    return message as FirmwareImage;
  };
  return apiService(FirmwareService, {
    uploadFirmware: async (requests, { signal, caller }) => {
      const options = { signal, idleTimeoutMs: uploadIdleMs };
      const { metadata, manifest, chunks } = await readUpload(requests, options);
      const { model, version, sha256, fileName } = manifest;
      // Sizes beyond what a number holds exactly are beyond every limit too.
      const sizeBytes = Number(manifest.sizeBytes);
      const context = { actor: auditActor(caller), metadata };
      const said = { model, version, sha256, sizeBytes, fileName };
      const row = await library.upload(said, chunks, context);
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
      return { firmware: await messagesOf(cut.rows), nextPageToken: cut.nextPageToken };
    },

    deleteFirmware: async ({ name }, { caller }) => {
      await library.delete(parseFirmwareName(name), auditActor(caller));
      return {};
    },

    publishMetadata: async (requests, { signal, caller }) => {
      const files = await readMetadataUpload(requests, { signal, idleTimeoutMs: uploadIdleMs });
      if (files.length === 0) throw new HoldfastError('REQUEST_INVALID', 'No metadata came');
      const changed = await engine.write(async (tx) => {
        const publication = preparePublication(await readMetadata(tx.db), files, now());
        await publish(tx, deps, publication, auditActor(caller));
        return publication.changed;
      });
      return { published: changed.map((file) => metadataMessage({ ...file, signed: '' })) };
    },

    readMetadata: async function* () {
      const rows = await engine.read
        .selectFrom('firmware_metadata')
        .selectAll()
        .orderBy('role')
        .orderBy('version')
        .execute();
      for (const row of rows) {
        yield metadataMessage({
          ...row,
          publishedAt: row.published_at,
          expiresAt: row.expires_at,
        });
      }
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

const metadataMessage = ({
  role,
  version,
  signed,
  publishedAt,
  expiresAt,
}: {
  readonly role: string;
  readonly version: number;
  readonly signed: string;
  readonly publishedAt?: number;
  readonly expiresAt?: number;
}): FirmwareMetadata => ({
  role,
  version: BigInt(version),
  signed,
  publishTime: publishedAt === undefined ? undefined : new Date(publishedAt),
  expireTime: expiresAt === undefined ? undefined : new Date(expiresAt),
});

const firmwareMessage = (
  row: FirmwareRow,
  problem: string,
  deltas: readonly FirmwareDelta[],
): FirmwareImage => ({
  name: firmwareName(row.firmware_id),
  model: row.model,
  version: row.version,
  sizeBytes: BigInt(row.size_bytes),
  sha256: row.sha256,
  createTime: new Date(row.created_at),
  fileName: row.file_name,
  problem,
  target: row.target,
  signedBy: row.signed_by,
  ...manifestFields(row),
  deltas: deltas.map(({ from_version, size_bytes, format }) => ({
    fromVersion: from_version,
    sizeBytes: BigInt(size_bytes),
    format,
  })),
});

const problemOf = (
  { target, model, version, sha256, size_bytes: sizeBytes }: FirmwareRow,
  isWhole: boolean,
  judge: ReturnType<typeof releaseVerifier>,
): string => {
  if (!isWhole) return 'the image was damaged on disk, or is gone: upload it again';
  if (target === '') return 'nobody has signed it: sign it, and upload it again';
  const verdict = judge(target, { image: { model, version, sha256, sizeBytes } });
  return verdict.ok ? '' : `devices refuse it: ${verdict.code}, ${verdict.message}`;
};

const manifestFields = ({ manifest }: FirmwareRow) => {
  // `FirmwareLibrary` alone writes it.
  const said: Partial<FirmwareManifest> = manifest === '' ? {} : JSON.parse(manifest);
  return {
    hardware: said.hardware ?? [],
    sourceVersions: said.source_versions ?? '',
    securityCounter: BigInt(said.security_counter ?? 0),
    installer: said.installer ?? '',
    part: said.part ?? '',
  };
};
