/**
 * Tells the control plane all that the site has of its shadows, since it may have been restored and lost what only the site still holds.
 * Page by page through the journal: how far it is, is a row beside it, so it goes on after a restart; and it waits while the lane has
 * much to send, so that what else is told of the site does not come late and the journal does not grow by all shadows at once.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Statement } from '@holdfast/provisioning/storage/write';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import type { SiteStore } from '../store/site-store.js';
import type { Shadows } from './shadows.js';
import type { ShadowKey } from './stored-shadow.js';

export interface TellEverythingDeps {
  readonly site: SiteStore;
  readonly shadows: Pick<Shadows, 'tellAll'>;
  /** Entries of the state lane that the control plane does not have yet. */
  readonly backlog: () => number;
  readonly log: StoreLog;
  readonly wait?: Wait;
}

export interface TellEverythingOptions {
  readonly atOnce?: number;
  /** Nothing is added while more than this waits to be sent. */
  readonly maxBacklog?: number;
}

/** `device` and `name` are of the last that was told; `turn` counts how often it was begun. */
interface TellingRow extends ShadowKey {
  readonly turn: number;
}

const defaults = { atOnce: 50, maxBacklog: 200 };
const lookAgainMs = 100;
const tryAgainMs = 5_000;

/** Begins it, also where it is under way: to be committed with what asks for it. */
export const beginTelling: Statement = {
  sql: `INSERT INTO shadow_telling (id, turn, device, name) VALUES (1, 1, '', '')
    ON CONFLICT (id) DO UPDATE SET turn = turn + 1, device = '', name = ''`,
};

export class TellEverything {
  readonly #deps: TellEverythingDeps;
  readonly #options: Required<TellEverythingOptions>;
  readonly #wait: Wait;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;
  #isAsked = false;

  constructor(deps: TellEverythingDeps, options: TellEverythingOptions = {}) {
    this.#deps = deps;
    this.#options = { ...defaults, ...options };
    this.#wait = deps.wait ?? wait;
  }

  /** Goes on where there is something to tell; to be called at the start and after `beginTelling` is committed. */
  kick(): void {
    this.#isAsked = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new Error('the gateway ends'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (this.#isAsked && !signal.aborted) {
      this.#isAsked = false;
      try {
        while (await this.#tellSome(signal));
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.log.warn({ problem: messageOf(error) }, 'shadows could not be told again yet');
        this.#isAsked = true;
        await this.#wait(tryAgainMs, signal).catch(() => undefined);
      }
    }
  }

  /** The next page; whether there was one. */
  async #tellSome(signal: AbortSignal): Promise<boolean> {
    const { site, shadows, backlog } = this.#deps;
    const { atOnce, maxBacklog } = this.#options;
    const row = await site.read.get<TellingRow>('SELECT turn, device, name FROM shadow_telling');
    if (row === undefined) return false;
    while (backlog() > maxBacklog) await this.#wait(lookAgainMs, signal);
    signal.throwIfAborted();
    const sql = `SELECT device, name FROM shadows WHERE (device, name) > (?, ?)
      ORDER BY device, name LIMIT ?`;
    const keys = await site.read.all<ShadowKey>(sql, [row.device, row.name, atOnce]);
    for (const key of keys) await shadows.tellAll(key);
    const last = keys.at(-1);
    // Guarded by its turn: it may have been begun anew meanwhile.
    await site.commit([
      last === undefined
        ? { sql: 'DELETE FROM shadow_telling WHERE turn = ?', params: [row.turn] }
        : {
            sql: 'UPDATE shadow_telling SET device = ?, name = ? WHERE turn = ?',
            params: [last.device, last.name, row.turn],
          },
    ]);
    return true;
  }
}
