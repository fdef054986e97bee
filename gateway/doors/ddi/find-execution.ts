/** The execution that an action id means: those of a device are numbered by what they are, so that ids need no table and survive a restore. */
import { executionNumber } from '@holdfast/protos/semantics/execution-number';
import type { ExecutionView } from '../../updates/device-executions.js';
import type { Updates } from '../../updates/updates.js';

export interface FoundExecution {
  readonly view: ExecutionView;
  /** Whether the id is that of its last attempt. */
  readonly isNewest: boolean;
}

/** Attempts before that are forgotten. */
const mostAttempts = 50;

export const findExecution = async (
  updates: Pick<Updates, 'campaigns' | 'executionOf' | 'executionsOf'>,
  device: string,
  number: number,
): Promise<FoundExecution | undefined> => {
  const current = updates.executionsOf(device).find((view) => view.number === number);
  if (current !== undefined) return { view: current, isNewest: true };
  for (const { id } of updates.campaigns()) {
    const view = await updates.executionOf(device, id);
    if (view === undefined) continue;
    const { offers } = view.execution;
    for (let offer = offers; offer > Math.max(0, offers - mostAttempts); offer -= 1) {
      if (executionNumber(id, device, offer) !== number) continue;
      return { view, isNewest: offer === offers };
    }
  }
  return undefined;
};
