/**
 * Proof of boot, in the form that each door can give it (DESIGN.md, "Execution of an update"): on the native topics a claim with a
 * new boot id and the new version; on the older set a new session and a heartbeat with the version in it; on a serial line a hello
 * with a new boot id and the version.
 *
 * What is compared with is the last run the device was seen in *before* it restarted: a report of a stage before the restart, or
 * a heartbeat with another version, moves it on, so that a lost connection is not taken for a restart.
 */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { Execution, ExecutionEvent } from './execution-state.js';

type Reported = Extract<ExecutionEvent, { type: 'reported' }>;
type Seen = Extract<ExecutionEvent, { type: 'seen' }>;

const beforeRestart: ReadonlySet<string> = new Set<ExecutionStatus>([
  'offered',
  'downloading',
  'verifying',
  'installing',
  'in_progress',
]);

/** What a report says of the device's run; the same state when it says nothing new. */
export const learnFromReport = (before: Execution, report: Reported): Execution => {
  const state = withDetails(before, report);
  const { boot, version, status, door } = report;
  // Runs are named differently at each door, so one can't be compared with another's.
  if (door !== state.door) return { ...state, bootBefore: boot ?? null, seen: null };
  if (boot === undefined) return state;
  if (beforeRestart.has(status)) {
    const fromVersion = state.fromVersion ?? version ?? null;
    if (boot === state.bootBefore && fromVersion === state.fromVersion) return state;
    return { ...state, bootBefore: boot, seen: null, fromVersion };
  }
  return boot === state.bootBefore || state.bootBefore === null
    ? state
    : withSeen(state, boot, version ?? null);
};

/** What a session or a heartbeat says of it. */
export const learnFromSight = (state: Execution, { boot, version }: Seen): Execution => {
  if (boot === state.bootBefore) return state;
  // Nothing to compare with: this is the run that a later one is compared with.
  if (state.bootBefore === null) return { ...state, bootBefore: boot };
  if (version === state.toVersion) return withSeen(state, boot, version);
  if (state.status === 'rebooting' || state.status === 'confirming') {
    return withSeen(state, boot, version);
  }
  // The old version in a new session: it only reconnected. Without a version nothing is known yet.
  return version === null ? state : { ...state, bootBefore: boot, seen: null };
};

/** What a device says besides is added to what it said before. */
export const withDetails = (state: Execution, { details }: Reported): Execution => {
  if (details === undefined) return state;
  const known = state.details ?? {};
  const isNew = Object.entries(details).some(([name, value]) => known[name] !== value);
  if (!isNew) return state;
  const all = Object.entries({ ...known, ...details });
  const older = all.filter(([name]) => !Object.hasOwn(details, name));
  const room = Math.max(0, mostDetails - (all.length - older.length));
  const kept = older.slice(Math.max(0, older.length - room));
  return { ...state, details: { ...Object.fromEntries(kept), ...details } };
};

/** What a device says by ever new names would grow with each report. */
const mostDetails = 50;

const withSeen = (state: Execution, boot: string, version: string | null): Execution => {
  const { seen } = state;
  // A session begins before its heartbeat: the version that was heard in it stays.
  const known = seen?.boot === boot ? (version ?? seen.version) : version;
  return seen?.boot === boot && seen.version === known
    ? state
    : { ...state, seen: { boot, version: known } };
};

/** Whether it was seen with the new version in another run than before, where that is all the proof the door has. */
export const isUp = ({ door, seen, toVersion }: Execution): boolean =>
  door !== 'native' && seen !== null && seen.version === toVersion;

/** Of a device that says it succeeded: `open` while proof may still come, `impossible` where this client can give none. */
export const isProven = (
  state: Execution,
  { boot, version }: Reported,
): 'proven' | 'disproven' | 'open' | 'impossible' => {
  const { bootBefore, toVersion, door } = state;
  if (door !== 'native') return isUp(state) ? 'proven' : 'open';
  if (bootBefore === null) return 'impossible';
  if (boot === undefined || boot === bootBefore) return 'open';
  if (version === undefined) return 'impossible';
  return version === toVersion ? 'proven' : 'disproven';
};

export interface SilentOutcome {
  readonly status: 'succeeded' | 'unproven' | 'rolled_back' | 'failed';
  readonly error: string | null;
}

/** What is to be made of a device whose time to prove itself has run out. */
export const outcomeOfSilence = (state: Execution): SilentOutcome => {
  const { seen, claimed, fromVersion, toVersion, door } = state;
  if (isUp(state)) return { status: 'succeeded', error: null };
  if (seen !== null && seen.version !== null && seen.version !== toVersion) {
    return seen.version === fromVersion
      ? { status: 'rolled_back', error: `it restarted and runs ${seen.version} again` }
      : { status: 'failed', error: `it restarted, but runs ${seen.version}` };
  }
  // Who never told a version will not tell the new one either.
  if (claimed && door !== 'native' && fromVersion === null) {
    return { status: 'unproven', error: 'the device gives no proof that it restarted' };
  }
  if (seen !== null && !claimed) {
    return { status: 'failed', error: 'it restarted, but did not confirm the new version' };
  }
  return { status: 'failed', error: 'it did not prove that it restarted' };
};
