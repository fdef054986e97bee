/** Firmware: an image in the blob store and a row that says what it is and who signed it. The row comes after the image is on disk. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type FirmwareRelease,
  namePart,
  targetName,
} from '@holdfast/provisioning/firmware/manifest';
import type { MetadataFile } from '@holdfast/provisioning/firmware/metadata-file';
import { verifyRelease } from '@holdfast/provisioning/firmware/verify-release';
import type { Kysely, Selectable } from 'kysely';
import { recordAudit } from '../audit/audit-log.js';
import type { BlobExpectation, BlobStore } from '../blobs/blob-store.js';
import { campaignWithFirmware } from '../campaigns/campaign-of-firmware.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';
import {
  type Publication,
  type PublishDependencies,
  type PublishedMetadata,
  preparePublication,
  publish,
  readMetadata,
} from './firmware-metadata.js';

export interface FirmwareDependencies {
  readonly engine: SqlEngine;
  readonly blobs: BlobStore;
  readonly plans: PublishDependencies['plans'];
  readonly now: () => number;
}

export interface FirmwareOptions {
  /** Bytes of one image at most. */
  readonly maxImageBytes: number;
  /** Images that are taken in at once. */
  readonly maxUploads?: number;
}

export type FirmwareRow = Selectable<Schema['firmware']>;

/** Who uploads, and what comes with the image. */
export interface UploadContext {
  /** As the audit names people. */
  readonly actor: string;
  /** Metadata that is published with the image, and not without it. */
  readonly metadata: readonly MetadataFile[];
}

/** What an image is said to be before it comes. */
export interface FirmwareManifest extends BlobExpectation {
  readonly model: string;
  readonly version: string;
  readonly fileName: string;
}

/** Where gateways fetch an image, below the HTTPS address. */
export const firmwarePath = (sha256: string): string => `/firmware/sha256/${sha256}`;

export class FirmwareLibrary {
  readonly #deps: FirmwareDependencies;
  readonly #options: Required<FirmwareOptions>;
  #uploads = 0;

  constructor(deps: FirmwareDependencies, options: FirmwareOptions) {
    this.#deps = deps;
    this.#options = { maxUploads: 8, ...options };
  }

  /**
   * Takes an image in that metadata, published or coming with it, has signed. The same image again is no error. Errors: REQUEST_INVALID
   * (the manifest), REQUEST_TOO_LARGE, REQUEST_THROTTLED, RESOURCE_EXISTS (another image of this model and version), those of
   * `verifyRelease`, UPDATE_DIGEST_MISMATCH, UPDATE_SIZE_MISMATCH, whatever the chunks throw.
   */
  async upload(
    manifest: FirmwareManifest,
    chunks: AsyncIterable<Uint8Array>,
    context: UploadContext,
  ): Promise<FirmwareRow> {
    this.#check(manifest);
    const { read } = this.#deps.engine;
    const known = await findFirmware(read, idOf(manifest));
    // Seen now and not only after the image has come, which may take long.
    if (known !== undefined && known.sha256 !== manifest.sha256) throw exists(known.firmware_id);
    this.#verify(await readMetadata(read), manifest, context);
    if (this.#uploads >= this.#options.maxUploads) {
      throw new HoldfastError('REQUEST_THROTTLED', 'Other images are being uploaded. Try later');
    }
    this.#uploads += 1;
    try {
      await this.#deps.blobs.put(chunks, manifest);
      return await this.#record(manifest, context);
    } finally {
      this.#uploads -= 1;
    }
  }

  /** Errors: RESOURCE_NOT_FOUND, RESOURCE_IN_USE while a campaign that is not over needs it. */
  async delete(id: string, actor: string): Promise<void> {
    await this.#deps.engine.write(async (tx) => {
      const { db } = tx;
      const { sha256 } = await requireFirmware(db, id);
      const campaign = await campaignWithFirmware(db, id);
      if (campaign !== undefined) {
        throw new HoldfastError(
          'RESOURCE_IN_USE',
          `The campaign ${campaign} needs the firmware ${id}. Cancel it first, or wait for its end`,
        );
      }
      await db.deleteFrom('firmware').where('firmware_id', '=', id).execute();
      await recordAudit(tx, this.#deps.now(), {
        action: 'firmware.deleted',
        actor,
        resource: `firmware/${id}`,
        details: { sha256 },
      });
    });
  }

  /**
   * Removes images and deltas that no row names: of uploads that ended between image and row, and of firmware that was deleted. To be called at the
   * start, before uploads are taken: an image that is being taken in has no row yet either.
   */
  async sweep(): Promise<void> {
    const { read } = this.#deps.engine;
    const images = await read.selectFrom('firmware').select('sha256').execute();
    const deltas = await read.selectFrom('firmware_deltas').select('sha256').execute();
    const named = new Set([...images, ...deltas].map(({ sha256 }) => sha256));
    for (const sha256 of await this.#deps.blobs.list()) {
      if (!named.has(sha256)) await this.#deps.blobs.delete(sha256);
    }
  }

  #record(manifest: FirmwareManifest, context: UploadContext): Promise<FirmwareRow> {
    const id = idOf(manifest);
    const { now } = this.#deps;
    return this.#deps.engine.write(async (tx) => {
      const { db } = tx;
      const known = await findFirmware(db, id);
      if (known !== undefined && known.sha256 !== manifest.sha256) throw exists(id);
      // Others may have published meanwhile.
      const { publication, release } = this.#verify(await readMetadata(db), manifest, context);
      const said = {
        file_name: manifest.fileName,
        target: release.target,
        signed_by: release.signedBy,
        manifest: JSON.stringify(release.manifest),
      };
      await db
        .insertInto('firmware')
        .values({
          firmware_id: id,
          model: manifest.model,
          version: manifest.version,
          size_bytes: manifest.sizeBytes,
          sha256: manifest.sha256,
          created_at: now(),
          ...said,
        })
        .onConflict((c) => c.column('firmware_id').doUpdateSet(said))
        .execute();
      await publish(tx, this.#deps, publication, context.actor);
      if (known === undefined) {
        await recordAudit(tx, now(), {
          action: 'firmware.uploaded',
          actor: context.actor,
          resource: `firmware/${id}`,
          details: { sha256: manifest.sha256, target: release.target, signed_by: release.signedBy },
        });
      }
      return requireFirmware(db, id);
    });
  }

  #verify(
    published: PublishedMetadata,
    manifest: FirmwareManifest,
    { metadata }: UploadContext,
  ): { readonly publication: Publication; readonly release: FirmwareRelease } {
    const target = targetName(manifest);
    if (published.trusted === null && metadata.length === 0) {
      throw new HoldfastError('FIRMWARE_TARGET_UNKNOWN', `Nobody has signed ${target}`, {
        data: { next: `holdfast firmware sign ${manifest.fileName}` },
      });
    }
    const publication = preparePublication(published, metadata, this.#deps.now());
    const { files, trusted } = publication;
    const verdict = verifyRelease(trusted, files, target, this.#deps.now(), {
      head: null,
      image: manifest,
    });
    if (!verdict.ok) throw new HoldfastError(verdict.code, verdict.message);
    return { publication, release: verdict.release };
  }

  #check({ model, version, sha256, sizeBytes, fileName }: FirmwareManifest): void {
    for (const [field, value] of Object.entries({ model, version })) {
      if (part.test(value)) continue;
      throw new HoldfastError(
        'REQUEST_INVALID',
        `${field} must be 1 to 64 of letters, digits and . _ + -, and is "${value.slice(0, 200)}"`,
      );
    }
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      throw new HoldfastError('REQUEST_INVALID', 'sha256 must be the digest in hexadecimal');
    }
    if (!namePart.test(fileName)) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `file_name must be 1 to 128 of letters, digits and . _ + -, and is "${fileName.slice(0, 200)}"`,
      );
    }
    if (sizeBytes < 1) throw new HoldfastError('REQUEST_INVALID', 'The image is empty');
    if (sizeBytes <= this.#options.maxImageBytes) return;
    throw new HoldfastError(
      'REQUEST_TOO_LARGE',
      `An image has at most ${this.#options.maxImageBytes} bytes (firmware.maxImageBytes)`,
    );
  }
}

/** A model or a version, as it stands in names and paths. */
const part = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;

export const isFirmwareId = (id: string): boolean => {
  const parts = id.split('@');
  return parts.length === 2 && parts.every((text) => part.test(text));
};

export const findFirmware = (db: Kysely<Schema>, id: string): Promise<FirmwareRow | undefined> =>
  db.selectFrom('firmware').selectAll().where('firmware_id', '=', id).executeTakeFirst();

/** Errors: RESOURCE_NOT_FOUND. */
export const requireFirmware = async (db: Kysely<Schema>, id: string): Promise<FirmwareRow> => {
  const row = await findFirmware(db, id);
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no firmware ${id}`, {
    data: { next: 'holdfast firmware list' },
  });
};

const idOf = ({ model, version }: FirmwareManifest): string => `${model}@${version}`;

const exists = (id: string): HoldfastError =>
  new HoldfastError(
    'RESOURCE_EXISTS',
    `There is another image ${id} already. Give this one a version of its own`,
  );
