/**
 * The way back of an update that failed or does not become healthy: another start, the slot before, the steps undone, a restart into what
 * the machine ran before. Part of the machine of update-machine.ts, and as pure.
 */
import { report, running, settle, shorten, statusOf, stay } from './update-decision.js';
import {
  type Decision,
  type Installing,
  type OnTrial,
  type Outcome,
  type Release,
  type Undoing,
  type Update,
  type UpdateEffect,
  type UpdateEvent,
  type UpdateState,
  undoStep,
} from './update-state.js';

/** What is still to be done on the way back. */
export const back = (under: Undoing): UpdateEffect =>
  under.undoneIn === null
    ? { type: 'undo', job: under.job, under }
    : { type: 'restart', job: under.job, under, since: under.undoneIn };

/** Only what was begun in place has to be undone; a slot is simply not gone over to. */
export const failInstall = (
  state: UpdateState,
  { job, release, target, steps }: Installing,
  error: string,
): Decision => {
  if (steps.length === 0 || !canUndo(release)) return settle(state, job, 'failed', error);
  const { active: previous } = state;
  return undo(state, { job, release, target, previous, outcome: 'failed', error });
};

/** By the archive's own step, or by flashing what ran before. */
const canUndo = ({ installer, steps }: Release): boolean =>
  installer === 'flash' || (installer === 'script' && steps.some(({ name }) => name === undoStep));

/** Only the slots go back by what this agent runs; whole systems by their boot loader and a restart. */
const goesBackByRestart = ({ installer }: Release): boolean =>
  installer === 'rauc' || installer === 'swupdate';

const undo = (state: UpdateState, going: Omit<Undoing, 'undoneIn'>): Decision => {
  const under: Undoing = { ...going, error: shorten(going.error), undoneIn: null };
  const undoing: UpdateState = { ...state, update: { phase: 'undoing', ...under } };
  return { state: undoing, effects: [...statusOf(undoing), back(under)] };
};

export const wentBack = (
  state: UpdateState,
  event: Extract<UpdateEvent, { type: 'undone' | 'restarted' }>,
): Decision => {
  const { update } = state;
  if (update.phase !== 'undoing' || update.job.id !== event.jobId) return stay(state);
  const { job, target, previous, outcome, error, undoneIn } = update;
  const before: UpdateState = {
    ...state,
    active: previous,
    slots: { ...state.slots, [target]: null },
  };
  const end = (ended: Outcome, reason: string): Decision => {
    const settled = settle(before, job, ended, reason);
    return { state: settled.state, effects: [...running(before), ...settled.effects] };
  };
  if (event.type === 'undone' && undoneIn === null) {
    if (event.error !== null) {
      return end('failed', `${error}; it could not be undone: ${event.error}`);
    }
    const under: Undoing = { ...update, undoneIn: event.bootId };
    return { state: { ...state, update: { phase: 'undoing', ...under } }, effects: [back(under)] };
  }
  return event.type === 'restarted' && undoneIn !== null ? end(outcome, error) : stay(state);
};

/** One more start, counted before it happens, or the way back. */
export const startTrial = (
  state: UpdateState,
  update: Extract<Update, { phase: 'rebooting' | 'confirming' }>,
  reason: string,
): Decision => {
  if (update.starts >= update.trial.maxStarts) {
    return rollBack(state, update, `${reason} (${String(update.starts)} starts)`);
  }
  return {
    state: { ...state, update: { ...update, phase: 'rebooting', starts: update.starts + 1 } },
    effects: [
      report(update.job, 'rebooting'),
      { type: 'run', slot: update.target, trial: update.trial },
    ],
  };
};

export const rollBack = (state: UpdateState, update: OnTrial, error: string): Decision => {
  const { job, release, target, previous } = update;
  if (canUndo(release) || goesBackByRestart(release)) {
    return undo(state, { job, release, target, previous, outcome: 'rolled_back', error });
  }
  // Nothing is left of what was there before: what cannot be undone is not said to be.
  if (release.installer === 'script') return settle(state, job, 'failed', error);
  const before: UpdateState = {
    ...state,
    active: previous,
    slots: { ...state.slots, [target]: null },
  };
  const settled = settle(before, job, 'rolled_back', error);
  const runs = running(before);
  return {
    state: settled.state,
    effects: [...(runs.length === 0 ? [{ type: 'stop' } as const] : runs), ...settled.effects],
  };
};
