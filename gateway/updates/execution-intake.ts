/** Takes what a device reports through any door to the decision on its execution, and gives the answer that a door translates. */
import { isTerminal } from '@holdfast/protos/link/execution-status';
import { asksFirst, type CampaignTurns } from './campaign-turns.js';
import { type ExecutionReport, type ReportAnswer, viewOf } from './device-executions.js';
import { isUnderWay } from './execution.js';
import { isChange, isChanging } from './execution-reports.js';
import type { ExecutionEvent } from './execution-state.js';
import type { Executions } from './executions.js';
import type { Closed } from './site-windows.js';

export interface ExecutionIntakeDeps {
  readonly executions: Executions;
  readonly turns: CampaignTurns;
  /** Until when that is closed by the time that deadlines are compared by. */
  readonly heldBy: (closed: Closed) => { readonly until: number | null; readonly reason: string };
}

export const reportExecution = async (
  { executions, turns, heldBy }: ExecutionIntakeDeps,
  device: string,
  job: string,
  report: ExecutionReport,
): Promise<ReportAnswer> => {
  const { expectedVersion, isBegun = false, ...said } = report;
  const known = { isStale: false, isClosed: false, done: (): void => undefined };
  const decision = await executions
    .decide(job, device, (state) => {
      if (expectedVersion !== undefined && expectedVersion !== state.version) {
        known.isStale = true;
        return `it has version ${state.version}`;
      }
      const event: ExecutionEvent = { type: 'reported', ...said };
      const run = executions.run(job);
      const asks = asksFirst.includes(said.door) && isChange(said.status) && !isBegun;
      if (!asks || run === undefined || run.campaign.body.document !== null) return event;
      if (!isUnderWay(state.status) || isChanging(state)) return event;
      const turn = turns.mayChange(run, device, state);
      if ('done' in turn) {
        known.done = turn.done;
        return event;
      }
      known.isClosed = true;
      return { ...event, held: heldBy(turn.closed) };
    })
    .finally(() => known.done());
  const campaign = executions.campaign(job);
  if (decision === undefined || campaign === undefined) {
    const message = `there is no job ${job} for this device`;
    return { accepted: false, reason: 'not_found', message };
  }
  const { state, refused } = decision;
  const view = viewOf(campaign, device, state);
  if (refused === undefined) return { accepted: true, view };
  const reason = known.isStale
    ? 'version'
    : known.isClosed && state.held
      ? 'closed'
      : isTerminal(state.status)
        ? 'over'
        : 'transition';
  return { accepted: false, reason, message: refused, view };
};
