/**
 * What the site knows of the images in its cache besides their bytes: what they are, once the plan names them no more, and who pinned
 * which. A note that is missing costs a name in a list.
 */
import { type FirmwareBody, firmwareBody } from '@holdfast/protos/link/plan-documents';
import * as v from 'valibot';
import type { SiteStore } from '../store/site-store.js';

export interface Pin {
  readonly by: string;
  /** Epoch ms. */
  readonly at: number;
}

export interface ImageNote {
  readonly body: FirmwareBody;
  /** Somebody at the site wants it kept, whatever the plan says. */
  readonly pin: Pin | null;
}

interface NoteRow {
  readonly sha256: string;
  readonly body: string;
  readonly pinned_by: string | null;
  readonly pinned_at: number | null;
}

export class ImageNotes {
  readonly #site: SiteStore;
  readonly #notes = new Map<string, ImageNote>();

  constructor(site: SiteStore) {
    this.#site = site;
  }

  async open(): Promise<void> {
    const rows = await this.#site.read.all<NoteRow>('SELECT * FROM firmware_images');
    for (const { sha256, body, pinned_by, pinned_at } of rows) {
      const pin = pinned_by === null ? null : { by: pinned_by, at: pinned_at ?? 0 };
      this.#notes.set(sha256, { body: v.parse(firmwareBody, JSON.parse(body)), pin });
    }
  }

  get(sha256: string): ImageNote | undefined {
    return this.#notes.get(sha256);
  }

  all(): ImageNote[] {
    return [...this.#notes.values()];
  }

  /** Resolves after the commit; so do the others. A pin that comes meanwhile stays. */
  async remember(body: FirmwareBody): Promise<void> {
    await this.#site.commit([
      {
        sql: 'INSERT INTO firmware_images (sha256, body) VALUES (?, ?) ON CONFLICT (sha256) DO UPDATE SET body = excluded.body',
        params: [body.sha256, JSON.stringify(body)],
      },
    ]);
    this.#notes.set(body.sha256, { body, pin: this.#notes.get(body.sha256)?.pin ?? null });
  }

  async pin(body: FirmwareBody, pin: Pin | null): Promise<void> {
    await this.#site.commit([
      {
        sql: 'INSERT OR REPLACE INTO firmware_images (sha256, body, pinned_by, pinned_at) VALUES (?, ?, ?, ?)',
        params: [body.sha256, JSON.stringify(body), pin?.by ?? null, pin?.at ?? null],
      },
    ]);
    this.#notes.set(body.sha256, { body, pin });
  }

  async forget(sha256: string): Promise<void> {
    if (!this.#notes.has(sha256)) return;
    await this.#site.commit([
      { sql: 'DELETE FROM firmware_images WHERE sha256 = ?', params: [sha256] },
    ]);
    this.#notes.delete(sha256);
  }
}
