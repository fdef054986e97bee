/** Work at times of the day, as a dependency: a test that holds the clock holds these too. */
import { schedule } from 'node-cron';

export interface Scheduled {
  /** Idempotent. */
  stop(): Promise<void>;
}

/** Runs the work at the times of an expression in cron's words, in the machine's time zone, until it is stopped. */
export type Schedule = (expression: string, work: () => unknown) => Scheduled;

export const cronSchedule: Schedule = (expression, work) => {
  // It would tell the console of turns missed while the machine slept.
  const task = schedule(expression, async () => work(), { suppressMissedWarning: true });
  return { stop: async () => task.destroy() };
};
