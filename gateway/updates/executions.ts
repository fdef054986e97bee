/**
 * The executions of the site, each decided on one event after the other: what is in memory is what is committed, and a decision
 * that could not be committed has not happened.
 */

import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { PhaseState } from '@holdfast/protos/semantics/phase-machine';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { SiteStore } from '../store/site-store.js';
import { type Campaign, firmwareId, policyOf, type TargetedDevice } from './campaign.js';
import {
  type CampaignRow,
  deleteCampaign,
  insertCampaign,
  phaseWrite,
  runOf,
  settleWrite,
  targetedWrite,
  updateCampaign,
  waitWrite,
} from './campaign-rows.js';
import { CampaignRun } from './campaign-run.js';
import { next } from './execution.js';
import { isChanging } from './execution-reports.js';
import {
  correctWrite,
  decisionWrite,
  deleteExecution,
  type ExecutionRow,
  executionOf,
  targetWrite,
  type WriteTime,
} from './execution-rows.js';
import {
  type Decision,
  type Execution,
  type ExecutionEvent,
  newExecution,
} from './execution-state.js';
import { rank } from './execution-steps.js';

export interface ExecutionsDeps {
  readonly site: SiteStore;
  /** Epoch ms that never run back while the program runs: deadlines are compared with it. */
  readonly time: () => number;
  /** Epoch ms as far as they are known: what is kept and told is dated by them. */
  readonly wall: () => number;
  /** Told after every commit that changed something. */
  readonly changed: (campaign: string, device: string) => void;
  readonly success: {
    /** What is committed with one. */
    readonly write: (campaign: Campaign, device: string, execution: Execution) => Statement[];
    /** After that. */
    readonly committed: (campaign: Campaign, device: string, execution: Execution) => void;
  };
}

/** Executions made in one commit. */
const mostAtOnce = 200;

export class Executions {
  readonly #deps: ExecutionsDeps;
  readonly #runs = new Map<string, CampaignRun>();
  /** Campaigns in which a device has an execution that is not over. */
  readonly #ofDevice = new Map<string, Set<CampaignRun>>();
  /** The decision under way for each execution. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** Use `openExecutions`. */
  constructor(
    deps: ExecutionsDeps,
    campaigns: readonly CampaignRow[],
    rows: readonly ExecutionRow[],
  ) {
    this.#deps = deps;
    const { ahead } = this.#writeTime();
    for (const row of campaigns) this.#runs.set(row.campaign, runOf(row, ahead));
    for (const row of rows) {
      const run = this.#runs.get(row.campaign);
      if (run !== undefined) this.#set(run, row.device, executionOf(row, ahead));
    }
  }

  run(id: string): CampaignRun | undefined {
    return this.#runs.get(id);
  }

  runs(): Iterable<CampaignRun> {
    return this.#runs.values();
  }

  campaign(id: string): Campaign | undefined {
    return this.#runs.get(id)?.campaign;
  }

  campaigns(): Campaign[] {
    return [...this.#runs.values()].map(({ campaign }) => campaign);
  }

  /** Those that are not over. */
  *live(): Generator<readonly [campaign: Campaign, device: string, execution: Execution]> {
    for (const { campaign, live } of this.#runs.values()) {
      for (const [device, execution] of live) yield [campaign, device, execution];
    }
  }

  *liveOf(device: string): Generator<readonly [campaign: Campaign, execution: Execution]> {
    for (const run of this.#ofDevice.get(device) ?? []) {
      const execution = run.live.get(device);
      if (execution !== undefined) yield [run.campaign, execution];
    }
  }

  /** Runs in which a device has an execution that is not over. */
  runsOf(device: string): readonly CampaignRun[] {
    return [...(this.#ofDevice.get(device) ?? [])];
  }

  /** One execution, also when it is over. */
  async get(campaign: string, device: string): Promise<Execution | undefined> {
    const run = this.#runs.get(campaign);
    if (!run?.has(device)) return undefined;
    const live = run.live.get(device);
    if (live !== undefined) return live;
    const row = await this.#deps.site.read.get<ExecutionRow>(
      'SELECT * FROM executions WHERE campaign = ? AND device = ?',
      [campaign, device],
    );
    return row && executionOf(row, this.#writeTime().ahead);
  }

  /**
   * One execution, after the decision on it that is under way. Whoever reads what a commit left (the outbox) may see it before the one
   * who committed does.
   */
  getDecided(campaign: string, device: string): Promise<Execution | undefined> {
    return this.#inTurn(`${campaign}/${device}`, () => this.get(campaign, device));
  }

  /** All of a campaign, by device. */
  async all(campaign: string): Promise<(readonly [device: string, execution: Execution])[]> {
    const rows = await this.#deps.site.read.all<ExecutionRow>(
      'SELECT * FROM executions WHERE campaign = ? ORDER BY device',
      [campaign],
    );
    return rows.map((row) => [row.device, executionOf(row)] as const);
  }

  /**
   * Decides and commits; undefined when there is no such execution. An event may follow from the state that it meets; a text refuses it.
   * Rejects as the commit queue does: then nothing has happened.
   */
  decide(
    campaign: string,
    device: string,
    event: ExecutionEvent | ((state: Execution) => ExecutionEvent | string),
  ): Promise<Decision | undefined> {
    return this.#inTurn(`${campaign}/${device}`, async () => {
      const run = this.#runs.get(campaign);
      const before = await this.get(campaign, device);
      if (run === undefined || before === undefined) return undefined;
      const met = typeof event === 'function' ? event(before) : event;
      if (typeof met === 'string') return { state: before, effects: [], refused: met };
      const decided = next(before, met, policyOf(run.campaign), this.#deps.time());
      if (decided.state === before) return decided;
      const writeTime = this.#writeTime();
      const decision = { ...decided, state: dated(decided.state, writeTime.at) };
      const { state } = decision;
      const isSuccess = state.status === 'succeeded' && before.status !== 'succeeded';
      try {
        await this.#deps.site.commit(
          [
            ...decisionWrite(run.campaign, device, before, decision, writeTime),
            ...(isSuccess ? this.#deps.success.write(run.campaign, device, state) : []),
          ],
          // No device is left in the middle because a disk is full; progress can wait, and others do not begin.
          { isUrgent: isChanging(before) && state.status !== before.status },
        );
      } catch (error) {
        if (isHoldfastError(error, 'STORE_CONFLICT')) await this.#reread(run, device);
        throw error;
      }
      this.#set(run, device, state);
      if (isSuccess) this.#deps.success.committed(run.campaign, device, state);
      this.#deps.changed(campaign, device);
      return decision;
    });
  }

  /** Decisions that are committed together: each is an own write of the same group. */
  async decideAll<T>(
    items: readonly T[],
    decisionOf: (item: T) => readonly [campaign: string, device: string, event: ExecutionEvent],
  ): Promise<void> {
    await Promise.all(items.map((item) => this.decide(...decisionOf(item))));
  }

  /** Takes up a campaign, or what is new of it. */
  async take(campaign: Campaign): Promise<void> {
    const run = this.#runs.get(campaign.id);
    if (run === undefined) {
      const write = [insertCampaign(campaign), ...targetWrite(campaign, [], 0, this.#deps.wall())];
      await this.#deps.site.commit(write);
      const taken = new CampaignRun(campaign);
      taken.phases = { ...taken.phases, resumes: campaign.body.resumes };
      this.#runs.set(campaign.id, taken);
    } else if (JSON.stringify(run.campaign) !== JSON.stringify(campaign)) {
      await this.#deps.site.commit([updateCampaign(campaign)]);
      run.renew(campaign);
    }
  }

  /** Makes an execution for each device that has none. */
  async target(id: string, devices: readonly TargetedDevice[]): Promise<void> {
    const run = this.#runs.get(id);
    if (run === undefined) throw new HoldfastError('INTERNAL', `no campaign ${id} here`);
    const missing = devices.filter(({ device }) => !run.has(device));
    for (let from = 0; from < missing.length; from += mostAtOnce) {
      const added = missing
        .slice(from, from + mostAtOnce)
        .map(({ device, image }) => [device, this.#newExecution(image)] as const);
      const total = run.size + added.length;
      await this.#deps.site.commit(targetWrite(run.campaign, added, total, this.#deps.wall()));
      run.isSettled = false;
      for (const [device, execution] of added) {
        this.#set(run, device, execution);
        this.#deps.changed(id, device);
      }
    }
  }

  /** Its devices are chosen: one that takes no late joiners gets no more. */
  async targeted(run: CampaignRun): Promise<void> {
    const at = this.#deps.wall();
    await this.#deps.site.commit([targetedWrite(run.campaign.id, at)]);
    run.targetedAt = at;
  }

  #newExecution(image: FirmwareBody | null): Execution {
    return newExecution(image?.version ?? '', image ? firmwareId(image) : null, this.#deps.wall());
  }

  /** Where a campaign stands in its phases from now on; `by` for who resumes it. Resolves after the commit. */
  async enter(run: CampaignRun, phases: PhaseState, by: string): Promise<void> {
    await this.#deps.site.commit(phaseWrite(run, phases, by, this.#writeTime()));
    run.phases = phases;
  }

  /** Tells the control plane why a campaign offers nothing; again only when that is another reason. */
  async tellWait(
    run: CampaignRun,
    wait: { readonly code: string; readonly reason: string } | null,
  ): Promise<void> {
    const code = wait?.code ?? null;
    if (code === run.toldWait) return;
    await this.#deps.site.commit(waitWrite(run.campaign.id, wait, this.#deps.wall()));
    run.toldWait = code;
  }

  /** Says of every campaign whose executions are all over that it is settled, unless its devices are still to be chosen. */
  async settle(isEnded: (campaign: string) => boolean): Promise<void> {
    for (const [id, run] of this.#runs) {
      if (run.isSettled || run.live.size > 0) continue;
      if (run.targetedAt === null && !isEnded(id)) continue;
      await this.#deps.site.commit(settleWrite(id, this.#deps.wall()));
      run.isSettled = true;
    }
  }

  /** Campaigns that were settled before then, epoch ms; nobody may take them up while they are forgotten. */
  async settledBefore(before: number): Promise<string[]> {
    const rows = await this.#deps.site.read.all<{ campaign: string }>(
      'SELECT campaign FROM campaign_runs WHERE settled_at < ? ORDER BY settled_at',
      [before],
    );
    return rows
      .map(({ campaign }) => campaign)
      .filter((id) => {
        const run = this.#runs.get(id);
        return run?.isSettled === true && run.live.size === 0;
      });
  }

  /** Takes a settled campaign out with all its executions, some at a time. */
  async forget(id: string): Promise<void> {
    const run = this.#runs.get(id);
    if (run === undefined) return;
    const devices = run.devices();
    while (devices.length > 0) {
      const some = devices.splice(0, mostAtOnce);
      await this.#deps.site.commit(some.map((device) => deleteExecution(id, device)));
      for (const device of some) run.remove(device);
    }
    await this.#deps.site.commit([deleteCampaign(id)]);
    this.#runs.delete(id);
  }

  /** To be called at once when the wall clock turned out to be off: deadlines on disk move with it. Resolves after the commit. */
  async correct(stepMs: number): Promise<void> {
    await this.#deps.site.commit(correctWrite(stepMs));
  }

  /** Resolves when no decision is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#turns.values());
  }

  #set(run: CampaignRun, device: string, execution: Execution): void {
    run.set(device, execution);
    const runs = this.#ofDevice.get(device);
    if (isTerminal(execution.status)) {
      runs?.delete(run);
      if (runs?.size === 0) this.#ofDevice.delete(device);
    } else if (runs === undefined) this.#ofDevice.set(device, new Set([run]));
    else runs.add(run);
  }

  #writeTime(): WriteTime {
    const at = this.#deps.wall();
    return { at, ahead: at - this.#deps.time() };
  }

  /** The row is not what memory held: the row is right. */
  async #reread(run: CampaignRun, device: string): Promise<void> {
    const row = await this.#deps.site.read.get<ExecutionRow>(
      'SELECT * FROM executions WHERE campaign = ? AND device = ?',
      [run.campaign.id, device],
    );
    if (row === undefined) return run.remove(device);
    this.#set(run, device, executionOf(row, this.#writeTime().ahead));
  }

  #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(key, turn);
    const forget = () => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    };
    turn.then(forget, forget);
    return turn;
  }
}

const dated = (state: Execution, at: number): Execution => ({
  ...state,
  startedAt: state.startedAt ?? (rank(state.status) > rank('offered') ? at : null),
  updatedAt: at,
});

export const openExecutions = async (deps: ExecutionsDeps): Promise<Executions> =>
  new Executions(
    deps,
    await deps.site.read.all<CampaignRow>('SELECT * FROM campaign_runs'),
    await deps.site.read.all<ExecutionRow>('SELECT * FROM executions'),
  );
