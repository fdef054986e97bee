/** The words an execution is told in at the gateway: what is committed of it, what can happen to it, what is then done. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { Door } from '../devices/device-events.js';

/**
 * One device's run of one campaign. `boot` names one run of the device's software: on the native topics its boot id, on the
 * older set its session, on a serial line the boot id of its hello.
 */
export interface Execution {
  readonly status: ExecutionStatus;
  /** The door it was offered through; null before the first offer. */
  readonly door: Door | null;
  /** Offers so far, without those the site itself spoiled. */
  readonly attempt: number;
  /** Every offer that was ever made: `executionNumber` counts by them. */
  readonly offers: number;
  /** Times the site was in the way; they have a budget of their own. */
  readonly siteFailures: number;
  readonly fromVersion: string | null;
  /** Empty for a plain job. */
  readonly toVersion: string;
  /** Id of its firmware; null for a plain job. */
  readonly firmware: string | null;
  /** The run that the device was in before it restarted into the new version; null when it never said. */
  readonly bootBefore: string | null;
  /** The last run it was seen in that is another one, and the version it had there. */
  readonly seen: { readonly boot: string; readonly version: string | null } | null;
  /** The device says it succeeded; proof may still be missing. */
  readonly claimed: boolean;
  /** The furthest status of this attempt: going back to an earlier one does not buy new time. */
  readonly furthest: ExecutionStatus;
  /** It has what it needs and may not begin to install yet; it takes no place meanwhile. */
  readonly held: boolean;
  readonly progress: number | null;
  readonly error: string | null;
  /** What the device said besides, by names of its own. */
  readonly details: Readonly<Record<string, string>> | null;
  readonly queuedAt: number;
  /** When it was first taken up by the device; null before. Both epoch ms. */
  readonly startedAt: number | null;
  /** When it was last committed, epoch ms. */
  readonly updatedAt: number;
  /** While queued: not to be offered before, epoch ms. */
  readonly notBefore: number;
  /** When the present stage has taken too long, epoch ms; null where nothing runs out. */
  readonly deadline: number | null;
  /** Counts up with every change; what a device names as `expected_version`. */
  readonly version: number;
}

export interface ExecutionPolicy {
  /** A plain job: there is no boot to prove. */
  readonly isJob: boolean;
  /** Further attempts after one that failed through the device. */
  readonly retries: number;
  readonly siteRetries: number;
  /** Bounds of the wait before another attempt; it doubles with each. */
  readonly retryAfterMs: { readonly first: number; readonly most: number };
  readonly offerTimeoutMs: number;
  readonly downloadTimeoutMs: number;
  readonly installTimeoutMs: number;
  readonly confirmTimeoutMs: number;
  /** From proof of boot to success, for a device that tells its stages: a bad image boots too, and then goes back. */
  readonly settleMs: number;
  /** How long a device may take to answer that it gave up. */
  readonly cancelTimeoutMs: number;
}

/** What a device can say of an execution; `succeeded` is a claim until it is proven. */
export type ReportedStatus =
  | 'offered'
  | 'downloading'
  | 'verifying'
  | 'installing'
  | 'in_progress'
  | 'rebooting'
  | 'confirming'
  | 'succeeded'
  | 'failed'
  | 'rolled_back'
  | 'cancelled';

export type ExecutionEvent =
  /** Its turn has come, its firmware is here and the device is connected through this door. */
  | {
      readonly type: 'offer';
      readonly door: Door;
      readonly boot: string | null;
      readonly version: string | null;
    }
  | {
      readonly type: 'reported';
      readonly door: Door;
      readonly status: ReportedStatus;
      readonly progress?: number;
      readonly error?: string;
      readonly boot?: string;
      readonly version?: string;
      readonly details?: Readonly<Record<string, string>>;
      /** Own time of this stage in ms; 0 takes that back. */
      readonly stepTimeoutMs?: number;
      /** It wants to begin what may not begin now: until when, epoch ms (null: nobody knows), and why. */
      readonly held?: { readonly until: number | null; readonly reason: string };
    }
  /** The device was seen in a run, by a new session or a heartbeat; `version` where it said what runs there. */
  | {
      readonly type: 'seen';
      readonly door: Door;
      readonly boot: string;
      readonly version: string | null;
    }
  /** The device speaks this door. */
  | { readonly type: 'heard'; readonly door: Door }
  /** It is time to look at the deadline. */
  | { readonly type: 'ticked' }
  /** The gateway was away: what ran out meanwhile did so through no fault of the device. */
  | { readonly type: 'resumed' }
  /** The gateway cannot serve what it offered. */
  | { readonly type: 'site_failed'; readonly error: string }
  | { readonly type: 'cancel' }
  /** A newer campaign wants this device. */
  | { readonly type: 'supersede' }
  /** Updates are stopped or paused: what was offered, or also what is downloaded, is taken back, and costs no attempt. */
  | {
      readonly type: 'withdraw';
      /** `absent`: of a device that went away, whatever its door. */
      readonly from: 'offers' | 'downloads' | 'absent';
      readonly reason: string;
    }
  /** It can never be offered to this device. */
  | { readonly type: 'refuse'; readonly error: string };

/** What the device has to be told; performed after the commit, again after a crash. */
export type ExecutionEffect = 'notify';

export interface Decision {
  readonly state: Execution;
  readonly effects: readonly ExecutionEffect[];
  /** Set when the device's report is not taken, with what to tell it. */
  readonly refused?: string;
}

export const newExecution = (
  toVersion: string,
  firmware: string | null = null,
  queuedAt = 0,
): Execution => ({
  status: 'queued',
  door: null,
  attempt: 0,
  offers: 0,
  siteFailures: 0,
  fromVersion: null,
  toVersion,
  firmware,
  bootBefore: null,
  seen: null,
  claimed: false,
  furthest: 'queued',
  held: false,
  progress: null,
  error: null,
  details: null,
  queuedAt,
  startedAt: null,
  updatedAt: queuedAt,
  notBefore: 0,
  deadline: null,
  version: 1,
});
