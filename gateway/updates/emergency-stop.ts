/**
 * The stop of every update: of the whole fleet, which the plan says, and of this site, which people here can make and lift without anybody
 * else. Nothing is offered while there is one; what installs or restarts goes on, since to break that off is the greater danger.
 */
import type { EmergencyStop } from '@holdfast/protos/link/plan-documents';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';

export interface StopState extends EmergencyStop {
  readonly of: 'fleet' | 'site';
}

export interface EmergencyStopsDeps {
  readonly site: SiteStore;
  /** What the plan says. */
  readonly planned: () => EmergencyStop | undefined;
  readonly now: () => number;
}

interface StopRow {
  readonly stopped_by: string;
  readonly reason: string;
  readonly stopped_at: number;
}

export class EmergencyStops {
  readonly #deps: EmergencyStopsDeps;
  #here: EmergencyStop | undefined;
  /** What is being made or lifted: whoever stops while another lifts has stopped after it. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(deps: EmergencyStopsDeps, row: StopRow | undefined) {
    this.#deps = deps;
    this.#here = row && { by: row.stopped_by, reason: row.reason, at: row.stopped_at };
  }

  static async open(deps: EmergencyStopsDeps): Promise<EmergencyStops> {
    const row = await deps.site.read.get<StopRow>('SELECT * FROM emergency_stop WHERE id = 1');
    return new EmergencyStops(deps, row);
  }

  /** Those that hold now, this site's own first. */
  states(): readonly StopState[] {
    const planned = this.#deps.planned();
    return [
      ...(this.#here === undefined ? [] : [{ of: 'site' as const, ...this.#here }]),
      ...(planned === undefined ? [] : [{ of: 'fleet' as const, ...planned }]),
    ];
  }

  /** Why nothing is offered, in a sentence after "it"; undefined when something may be. */
  why(): string | undefined {
    const [stop] = this.states();
    if (stop === undefined) return undefined;
    const where = stop.of === 'site' ? 'at this site' : 'in the whole fleet';
    const why = stop.reason === '' ? '' : ` (${stop.reason})`;
    return `waits until it is lifted: ${stop.by} stopped all updates ${where}${why}`;
  }

  /** Resolves after the commit. A stop that there is already stays as it was made. */
  stop(by: string, reason: string): Promise<void> {
    return this.#inTurn(() => this.#stop(by, reason));
  }

  /** Lifts this site's own; the fleet's is lifted where it was made. Resolves after the commit. */
  lift(by: string, reason: string): Promise<void> {
    return this.#inTurn(() => this.#lift(by, reason));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work, work);
    return this.#turn;
  }

  async #stop(by: string, reason: string): Promise<void> {
    if (this.#here !== undefined) return;
    const at = this.#deps.now();
    await this.#deps.site.commit(
      [
        {
          sql: 'INSERT OR REPLACE INTO emergency_stop (id, stopped_by, reason, stopped_at) VALUES (1, ?, ?, ?)',
          params: [by, reason, at],
        },
        journalEntry('audit', 'emergency_stop', { by, reason, lifted: false, stopped_at: at }, at),
      ],
      { isUrgent: true },
    );
    this.#here = { at, by, reason };
  }

  async #lift(by: string, reason: string): Promise<void> {
    if (this.#here === undefined) return;
    const at = this.#deps.now();
    await this.#deps.site.commit(
      [
        { sql: 'DELETE FROM emergency_stop' },
        journalEntry('audit', 'emergency_stop', { by, reason, lifted: true, stopped_at: at }, at),
      ],
      { isUrgent: true },
    );
    this.#here = undefined;
  }
}
