/** The words an update is told in: what is committed of it, what can happen to it, and what is then done. */
export type Slot = 'a' | 'b';

export interface UpdateJob {
  readonly id: string;
  readonly campaignId: string;
  /** The version of the firmware, not of the execution. */
  readonly version: string;
  readonly model: string;
  /** A path below the gateway's HTTPS address. */
  readonly url: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Files that make the same image of another one. */
  readonly deltas?: readonly JobDelta[];
}

export interface JobDelta {
  readonly fromSha256: string;
  /** A path below the gateway's HTTPS address. */
  readonly url: string;
  readonly format: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface InstalledApp {
  readonly version: string;
  readonly sha256: string;
  /** The job that brought it; null for what was installed by hand. */
  readonly jobId: string | null;
}

/** What the signed release says of its installation. */
export interface Release {
  readonly installer: string;
  /** The lowest that this device takes once it has run this release. */
  readonly securityCounter: number;
  /** Of the script installer; one named `undo` is not run but on the way back. */
  readonly steps: readonly ReleaseStep[];
  /** Of the flash installer: the microcontroller that it is for. */
  readonly part?: string;
}

export interface ReleaseStep {
  readonly name: string;
  /** Of the archive. */
  readonly file: string;
  readonly timeoutMs: number;
}

export const undoStep = 'undo';

/** A step of an installation that was begun, and whether it is done: what is done is not begun again. */
export interface StepTaken {
  readonly name: string;
  readonly isDone: boolean;
}

/** What is asked of the new software while it has yet to prove itself. */
export interface Trial {
  readonly deadlineMs: number;
  /** Starts, by a crash or by a power cut, after which the device goes back to what it had. */
  readonly maxStarts: number;
  /** The machine's boot that it was installed in: it has to come up in another. Null where the machine needs no restart. */
  readonly since: string | null;
}

export type Outcome = 'succeeded' | 'failed' | 'rolled_back';

export type Update =
  | { readonly phase: 'idle'; readonly last: FinishedJob | null }
  | { readonly phase: 'downloading' | 'verifying'; readonly job: UpdateJob }
  /** It is whole here, and the gateway has yet to let it be installed. */
  | { readonly phase: 'waiting'; readonly job: UpdateJob; readonly release: Release }
  | ({ readonly phase: 'installing' } & Installing)
  | ({ readonly phase: 'rebooting' | 'confirming' } & OnTrial)
  | ({ readonly phase: 'undoing' } & Undoing)
  | {
      readonly phase: 'settled';
      readonly job: UpdateJob;
      readonly outcome: Outcome;
      readonly error: string | null;
    };

export interface Installing {
  readonly job: UpdateJob;
  readonly release: Release;
  readonly target: Slot;
  /** Before the first, nothing of the device has changed. */
  readonly steps: readonly StepTaken[];
  /** The machine's boot that the first step was begun in; null before it, and where there are no steps. */
  readonly since: string | null;
}

export interface OnTrial {
  readonly job: UpdateJob;
  readonly release: Release;
  readonly target: Slot;
  /** Where to go back to; null when nothing ran before. */
  readonly previous: Slot | null;
  readonly trial: Trial;
  /** Starts of the new application, each counted before it happens. */
  readonly starts: number;
}

/** It goes back: what was installed in place by the archive's own `undo`, a whole system by its boot loader; then the machine restarts. */
export interface Undoing {
  readonly job: UpdateJob;
  readonly release: Release;
  readonly target: Slot;
  readonly previous: Slot | null;
  /** What it then ends with. */
  readonly outcome: 'failed' | 'rolled_back';
  readonly error: string;
  /** The machine's boot that it was undone in; null until it is. */
  readonly undoneIn: string | null;
}

export interface FinishedJob {
  readonly jobId: string;
  readonly outcome: Outcome;
}

export interface UpdateState {
  readonly active: Slot | null;
  readonly slots: Readonly<Record<Slot, InstalledApp | null>>;
  /** Of the newest release that has proved itself here: a lower one is not taken. */
  readonly securityCounter: number;
  readonly update: Update;
}

export type UpdateEvent =
  /** This process started; nothing runs yet. */
  | { readonly type: 'started' }
  /** The session with the gateway is up: what was said while it was down may not have arrived. */
  | { readonly type: 'connected' }
  | { readonly type: 'offered'; readonly job: UpdateJob; readonly deviceModel: string }
  /** The gateway has no job for this device (any more). */
  | { readonly type: 'withdrawn' }
  | { readonly type: 'downloaded'; readonly jobId: string }
  | { readonly type: 'verified'; readonly jobId: string; readonly release: Release }
  /** The gateway lets it be installed now. */
  | { readonly type: 'permitted'; readonly jobId: string }
  /** To be committed before the step changes anything. */
  | {
      readonly type: 'stepBegun';
      readonly jobId: string;
      readonly step: string;
      readonly bootId: string;
    }
  | { readonly type: 'stepDone'; readonly jobId: string; readonly step: string }
  | { readonly type: 'installed'; readonly jobId: string; readonly trial: Trial }
  /** Downloading, verifying or installing cannot succeed. */
  | { readonly type: 'failed'; readonly jobId: string; readonly error: string }
  | { readonly type: 'launched'; readonly slot: Slot }
  | { readonly type: 'healthy'; readonly slot: Slot }
  | { readonly type: 'exited'; readonly slot: Slot; readonly error: string }
  | { readonly type: 'overdue'; readonly slot: Slot }
  /** `error`: it could not be undone. */
  | {
      readonly type: 'undone';
      readonly jobId: string;
      readonly bootId: string;
      readonly error: string | null;
    }
  /** The machine has restarted since, or needs no restart. */
  | { readonly type: 'restarted'; readonly jobId: string }
  /** This is what the machine runs, whatever is recorded. */
  | { readonly type: 'found'; readonly slot: Slot; readonly app: InstalledApp }
  /** The gateway has committed the outcome. */
  | { readonly type: 'answered'; readonly jobId: string }
  /** The gateway has nothing more to do with this job: it ended there, or was never there. */
  | { readonly type: 'refused'; readonly jobId: string };

export type JobStatus =
  | 'downloading'
  | 'verifying'
  | 'installing'
  | 'rebooting'
  | 'confirming'
  | Outcome;

export type UpdateEffect =
  | {
      readonly type: 'report';
      readonly job: UpdateJob;
      readonly status: JobStatus;
      readonly error: string | null;
    }
  /** Asks whether it may be installed now; the answer is `permitted`, or comes later. */
  | { readonly type: 'request'; readonly job: UpdateJob }
  | { readonly type: 'download' | 'verify'; readonly job: UpdateJob }
  | {
      readonly type: 'install';
      readonly slot: Slot;
      readonly under: Installing;
      readonly job: UpdateJob;
    }
  | { readonly type: 'undo'; readonly job: UpdateJob; readonly under: Undoing }
  /** Restarts the machine unless it has since that boot. */
  | {
      readonly type: 'restart';
      readonly job: UpdateJob;
      readonly under: Undoing;
      readonly since: string;
    }
  /** Ends what is under way for this job and removes what it left outside the slots. */
  | { readonly type: 'discard'; readonly job: UpdateJob }
  /** This slot's application runs, and no other; on trial its exits are reported instead of repaired. */
  | { readonly type: 'run'; readonly slot: Slot; readonly trial: Trial | null }
  | { readonly type: 'stop' }
  /** Asks the gateway for the next job. */
  | { readonly type: 'ask' };

export interface Decision {
  readonly state: UpdateState;
  readonly effects: readonly UpdateEffect[];
}

export const newUpdateState = (): UpdateState => ({
  active: null,
  slots: { a: null, b: null },
  securityCounter: 0,
  update: { phase: 'idle', last: null },
});

export const otherSlot = (slot: Slot | null): Slot => (slot === 'a' ? 'b' : 'a');
