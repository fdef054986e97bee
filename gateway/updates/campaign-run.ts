/** A campaign with its executions at this site, counted as they change, so that nothing is ever found out by counting them. */
import { type ExecutionStatus, isTerminal } from '@holdfast/protos/link/execution-status';
import {
  beforePhases,
  type PhaseState,
  type PhaseWait,
  phaseIndexOf,
} from '@holdfast/protos/semantics/phase-machine';
import type { Campaign } from './campaign.js';
import { isUnderWay } from './execution.js';
import type { Execution } from './execution-state.js';

export class CampaignRun {
  #campaign: Campaign;
  readonly #live = new Map<string, Execution>();
  readonly #ended = new Map<string, ExecutionStatus>();
  #counts: Partial<Record<ExecutionStatus, number>>[] = [];
  readonly #phases = new Map<string, number>();
  /** Devices that take a place: under way, and not waiting for a window. */
  readonly places = new Set<string>();
  /** Queued ones to look at, by phase. */
  readonly candidates: Set<string>[] = [];
  /** Queued ones that nothing of their own device can set free. */
  readonly parked = new Set<string>();
  phases: PhaseState = beforePhases;
  /** What it waits for before it goes further, as it was last looked at. */
  gate: PhaseWait | null = null;
  /** When its devices were chosen, epoch ms; null before. */
  targetedAt: number | null = null;
  /** The code of what was last told of why it offers nothing. */
  toldWait: string | null = null;
  isSettled = false;

  constructor(campaign: Campaign) {
    this.#campaign = campaign;
    this.#recount();
  }

  get campaign(): Campaign {
    return this.#campaign;
  }

  /** What is new of it. */
  renew(campaign: Campaign): void {
    const before = this.#campaign.body.phases;
    this.#campaign = campaign;
    if (JSON.stringify(before) !== JSON.stringify(campaign.body.phases)) this.#recount();
  }

  get live(): ReadonlyMap<string, Execution> {
    return this.#live;
  }

  /** How many devices have an execution, over or not. */
  get size(): number {
    return this.#live.size + this.#ended.size;
  }

  /** By phase. */
  get counts(): readonly Readonly<Partial<Record<ExecutionStatus, number>>>[] {
    return this.#counts;
  }

  has(device: string): boolean {
    return this.#live.has(device) || this.#ended.has(device);
  }

  devices(): string[] {
    return [...this.#live.keys(), ...this.#ended.keys()];
  }

  /** The phase that a device belongs to, from 0. */
  phaseOf(device: string): number {
    let phase = this.#phases.get(device);
    if (phase === undefined) {
      phase = phaseIndexOf(this.#campaign.body.phases, this.#campaign.id, device);
      this.#phases.set(device, phase);
    }
    return phase;
  }

  /** What is committed of a device's execution now. */
  set(device: string, execution: Pick<Execution, 'status'> & Partial<Execution>): void {
    this.#count(device, -1);
    if (isTerminal(execution.status)) {
      this.#live.delete(device);
      this.#ended.set(device, execution.status);
    } else {
      this.#ended.delete(device);
      // Only what is over comes without the rest.
      this.#live.set(device, execution as Execution);
    }
    this.#count(device, 1);
    this.placeAnew(device);
  }

  /** To be called after whatever took a place for a device before its commit. */
  placeAnew(device: string): void {
    const execution = this.#live.get(device);
    if (execution !== undefined && isUnderWay(execution.status) && !execution.held) {
      this.places.add(device);
    } else this.places.delete(device);
  }

  remove(device: string): void {
    this.#count(device, -1);
    this.#live.delete(device);
    this.#ended.delete(device);
    this.#phases.delete(device);
    this.placeAnew(device);
  }

  addCandidate(device: string): void {
    this.parked.delete(device);
    const phase = this.phaseOf(device);
    this.candidates[phase] ??= new Set();
    this.candidates[phase]?.add(device);
  }

  unpark(): void {
    for (const device of this.parked) this.addCandidate(device);
  }

  /** Sums over all phases. */
  totals(): Partial<Record<ExecutionStatus, number>> {
    const totals: Partial<Record<ExecutionStatus, number>> = {};
    for (const counts of this.#counts) {
      for (const status of Object.keys(counts) as ExecutionStatus[]) {
        const sum = (totals[status] ?? 0) + (counts[status] ?? 0);
        if (sum > 0) totals[status] = sum;
      }
    }
    return totals;
  }

  #statusOf(device: string): ExecutionStatus | undefined {
    return this.#live.get(device)?.status ?? this.#ended.get(device);
  }

  #count(device: string, by: number): void {
    const status = this.#statusOf(device);
    if (status === undefined) return;
    const counts = this.#counts[this.phaseOf(device)];
    if (counts !== undefined) counts[status] = (counts[status] ?? 0) + by;
  }

  #recount(): void {
    this.#phases.clear();
    this.#counts = this.#campaign.body.phases.map(() => ({}));
    const candidates = this.candidates.splice(0).flatMap((some) => [...some]);
    for (const device of candidates) this.addCandidate(device);
    for (const device of this.devices()) this.#count(device, 1);
  }
}
