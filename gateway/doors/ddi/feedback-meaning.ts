/**
 * What a feedback of hawkBit's device interface means for its execution: pure. The words there are few, and the two clients in the field
 * use them differently:
 *
 * - SWUpdate counts chunks. With the last one installed (`proceeding`, all of all) it waits to be restarted, and what it says is closed is
 *   said by the process after that. It tells no download: that is seen by its asking for the artifact.
 * - RAUC's updater counts nothing, and closes before it restarts. What proves the restart is the version that it tells after.
 */
import type { DdiFeedback } from '@holdfast/protos/ddi/ddi-feedback';
import type { ReportedStatus } from '../../updates/execution-state.js';

export interface FeedbackContext {
  /** It said that everything is installed, and that it waits to be restarted. */
  readonly isInstalled: boolean;
  /** It asked anew since it said so: whoever speaks now has begun after that. */
  readonly askedSince: boolean;
  /** It has loaded the artifact to its end. */
  readonly hasLoaded: boolean;
  /** What it has said so far, the newest first, this feedback's words among it. */
  readonly messages: readonly string[];
}

export interface FeedbackMeaning {
  readonly status: ReportedStatus;
  /** Who says so runs what was installed. */
  readonly isAfterRestart: boolean;
  /** Percent. */
  readonly progress?: number;
  readonly error?: string;
}

/** undefined: nothing that an execution is concerned with. */
export const meaningOf = (
  feedback: DdiFeedback,
  context: FeedbackContext,
): FeedbackMeaning | undefined => {
  const { execution, finished } = feedback;
  switch (execution) {
    case 'scheduled':
    case 'resumed':
      return undefined;
    case 'download':
      return before('downloading', feedback);
    case 'downloaded':
      return before('verifying', feedback);
    case 'proceeding':
      if (isAll(feedback)) return { status: 'rebooting', isAfterRestart: false };
      // Its log, sent after it has said what came of it.
      if (context.isInstalled) return undefined;
      return before(context.hasLoaded ? 'installing' : 'downloading', feedback);
    case 'canceled':
      return failed('cancelled', feedback, context, 'the device has cancelled it');
    case 'rejected':
      return failed('failed', feedback, context, 'the device refuses it');
    case 'closed':
      if (finished === 'failure') {
        const status = context.isInstalled && context.askedSince ? 'rolled_back' : 'failed';
        return failed(status, feedback, context, 'the device says that it failed');
      }
      return { status: 'succeeded', isAfterRestart: context.isInstalled && context.askedSince };
  }
};

const before = (status: ReportedStatus, { progress }: DdiFeedback): FeedbackMeaning => {
  const counts = progress !== null && progress.of > 0 && progress.cnt <= progress.of;
  return {
    status,
    isAfterRestart: false,
    ...(counts && { progress: Math.floor((100 * progress.cnt) / progress.of) }),
  };
};

const failed = (
  status: ReportedStatus,
  { details }: DdiFeedback,
  { messages }: FeedbackContext,
  otherwise: string,
): FeedbackMeaning => {
  // SWUpdate's last word is that nothing suitable was there: why not stands in its log, which it sends before.
  const logged = messages.toReversed().filter((message) => /\bERROR\b/.test(message));
  const words = new Set([...logged, ...details].filter((word) => word !== ''));
  const error = [...words].join('; ').slice(0, longestError) || otherwise;
  return { status, isAfterRestart: false, error };
};

const isAll = ({ progress }: DdiFeedback): boolean =>
  progress !== null && progress.of > 0 && progress.cnt === progress.of;

const longestError = 500;
