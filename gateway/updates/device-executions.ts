/**
 * The executions of one device, as doors see them: what is offered to it or under way, what it says of that, and how it is told. A door
 * translates these to what its devices speak and has no rules of its own.
 */
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { executionNumber } from '@holdfast/protos/semantics/execution-number';
import type { Door } from '../devices/device-events.js';
import { type Campaign, imageOf } from './campaign.js';
import type { Execution, ReportedStatus } from './execution-state.js';

/** Times are epoch ms. */
export interface ExecutionView {
  readonly campaign: Campaign;
  readonly device: string;
  /** `executionNumber` of its newest offer; of the first one before that. */
  readonly number: number;
  readonly execution: Execution;
  /** Null for a plain job, whose document is the campaign's. */
  readonly image: FirmwareBody | null;
  readonly details: Readonly<Record<string, string>> | null;
  readonly queuedAt: number;
  /** When the device first took it up. */
  readonly startedAt: number | null;
  readonly updatedAt: number;
}

export const viewOf = (campaign: Campaign, device: string, execution: Execution): ExecutionView => {
  const { details, queuedAt, startedAt, updatedAt } = execution;
  return {
    ...{ campaign, device, execution, details, queuedAt, startedAt, updatedAt },
    number: executionNumber(campaign.id, device, Math.max(execution.offers, 1)),
    image: imageOf(campaign, execution) ?? null,
  };
};

/** What a device says of an execution through a door. */
export interface ExecutionReport {
  readonly door: Door;
  readonly status: ReportedStatus;
  /** Percent. */
  readonly progress?: number;
  readonly error?: string;
  /** Names the run of its software: proof-of-boot.ts says what that is at each door. */
  readonly boot?: string;
  /** What runs now. */
  readonly version?: string;
  /** Added to what it said before, by name. */
  readonly details?: Readonly<Record<string, string>>;
  /** From now on this stage may take so long; 0 takes that back. In ms. */
  readonly stepTimeoutMs?: number;
  /** Refused unless `execution.version` is this. */
  readonly expectedVersion?: number;
  /** An attempt before this one left the device half changed: no window is asked for making it whole. */
  readonly isBegun?: boolean;
}

export type ReportRefusal =
  /** The device has no such execution. */
  | 'not_found'
  /** It is not of the expected version. */
  | 'version'
  /** It has ended, with another outcome. */
  | 'over'
  /** What is said does not follow from where it is. */
  | 'transition'
  /** It may not begin now; the same again later is answered anew. */
  | 'closed';

export type ReportAnswer =
  | { readonly accepted: true; readonly view: ExecutionView }
  | {
      readonly accepted: false;
      readonly reason: ReportRefusal;
      readonly message: string;
      readonly view?: ExecutionView;
    };

/** Tells a device how an execution stands now, whatever it was when this became due: it may be performed late, and twice. */
export type TellDevice = (device: string, campaign: string) => Promise<void>;

/** What doors get of the updates (`Updates` has it). */
export interface DeviceExecutions {
  /** Offered or later, and not over; the oldest first. */
  executionsOf(device: string): readonly ExecutionView[];
  /** One of them, also when it is queued or over. */
  executionOf(device: string, campaign: string): Promise<ExecutionView | undefined>;
  /** Resolves after the commit; rejects as the commit queue does, and nothing has happened. */
  report(device: string, campaign: string, report: ExecutionReport): Promise<ReportAnswer>;
  /** The device speaks this door: what was offered it and not taken up is told through it from now on. */
  heard(device: string, door: Door): Promise<void>;
  /** How devices of a door are told; performed after each change that a device has to know of. To be called before `open`. */
  tellThrough(door: Door, tell: TellDevice): void;
}
