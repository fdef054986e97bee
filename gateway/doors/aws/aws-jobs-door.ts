/**
 * The jobs topics of AWS IoT: each request is read as strictly as there and answered on its own topic, `$next` literally, to the client
 * that asked and to nobody else. Jobs are the executions of the site's campaigns, as many as were offered to the device.
 */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type AwsJobsStartRequest,
  type AwsJobUpdateRequest,
  parseAwsJobGet,
  parseAwsJobsGet,
  parseAwsJobsStart,
  parseAwsJobUpdate,
} from '@holdfast/protos/mqtt/aws-jobs-payload';
import { type AwsJobsTopic, nextAwsJob } from '@holdfast/protos/mqtt/aws-topics';
import { clientTokenIn } from '@holdfast/protos/mqtt/client-token';
import type { InboundMessage } from '../../broker/broker.js';
import { Turns } from '../../shadows/turns.js';
import type { DeviceExecutions, ExecutionView } from '../../updates/device-executions.js';
import { finalReasonOf } from '../final-reason.js';
import {
  type AwsView,
  describe,
  isOffered,
  pendingOf,
  pendingStatusOf,
  stateOf,
  statusOf,
  summaryOf,
} from './aws-execution.js';
import {
  type Answer,
  accepted,
  answer,
  internal,
  noTransition,
  notFound,
  noUpdateOfNext,
  rejected,
  throttled,
} from './aws-job-answers.js';
import { type AwsJobNoticesDeps, awsJobNotices } from './aws-job-notices.js';
import { awsJobReport } from './aws-job-report.js';
import { type AwsWord, saveWord, wordOf } from './aws-job-rows.js';
import { AwsRuns, type SeenUpdates } from './aws-runs.js';

export interface AwsJobsDoorDeps extends Omit<AwsJobNoticesDeps, 'updates'> {
  readonly updates: DeviceExecutions & SeenUpdates;
  /** Whether a device was last heard on these topics. */
  readonly isSpoken: (device: string) => boolean;
}

export interface AwsJobsDoor {
  handle(topic: AwsJobsTopic, message: InboundMessage): Promise<void>;
  /** A device came: it is told what it does not know yet. */
  connected(device: string, sessionId: string): Promise<void>;
  /** Its classic shadow says what it runs. */
  versionReported(device: string, version: string): Promise<void>;
}

/** Requests of one connection that are being worked on, as with shadows. */
const maxInFlight = 10;
/** Requests about one device that wait for each other, whatever connections they came over. */
const maxWaiting = 50;

export const awsJobsDoor = (deps: AwsJobsDoorDeps): AwsJobsDoor => {
  const { updates, site, publish, documentOf, now } = deps;
  const notices = awsJobNotices(deps);
  const turns = new Turns(maxWaiting);
  const runs = new AwsRuns(updates);
  const inFlight = new Map<string, number>();
  // One at a time comes from the outbox, and one from a session.
  const tellInTurn = (device: string): Promise<void> =>
    turns.take(device, () => notices.tell(device), 10);
  updates.tellThrough('aws', tellInTurn);

  const withWord = async (view: ExecutionView): Promise<AwsView> => ({
    view,
    word: await wordOf(site, view),
  });

  /** One that the device was told of, of this number where it names one. */
  const find = async (
    device: string,
    job: string,
    number: number | undefined,
  ): Promise<AwsView | undefined> => {
    const view = await updates.executionOf(device, job);
    if (view === undefined || !isOffered(view)) return undefined;
    return number === undefined || number === view.number ? withWord(view) : undefined;
  };

  const list = async (device: string): Promise<Answer> => {
    const pending = pendingOf(updates.executionsOf(device));
    const of = async (status: string) =>
      Promise.all(
        pending
          .filter((view) => pendingStatusOf(view) === status)
          .map(async (view) => summaryOf(await withWord(view))),
      );
    return accepted({ inProgressJobs: await of('IN_PROGRESS'), queuedJobs: await of('QUEUED') });
  };

  const startNext = async (device: string, request: AwsJobsStartRequest): Promise<Answer> => {
    for (const view of pendingOf(updates.executionsOf(device))) {
      const before = await withWord(view);
      await notices.answered(view);
      if (pendingStatusOf(view) === 'IN_PROGRESS') {
        return accepted({ execution: describe(before, documentOf(view)) });
      }
      const update = { ...request, status: 'IN_PROGRESS' } as const;
      const started = await say(before, update);
      // Taken back at this very moment: maybe there is another.
      if (!('after' in started)) continue;
      return accepted({ execution: describe(started.after, documentOf(view)) });
    }
    return accepted({});
  };

  const describeJob = async (
    device: string,
    job: string,
    request: { readonly executionNumber?: number; readonly includeJobDocument?: boolean },
  ): Promise<Answer> => {
    const documentFor = (view: ExecutionView) =>
      request.includeJobDocument === false ? undefined : documentOf(view);
    if (job === nextAwsJob) {
      const [view] = pendingOf(updates.executionsOf(device));
      if (view === undefined) return accepted({});
      await notices.answered(view);
      return accepted({ execution: describe(await withWord(view), documentFor(view)) });
    }
    const found = await find(device, job, request.executionNumber);
    if (found === undefined) return notFound(job);
    const status = statusOf(found);
    return status === 'CANCELED' || status === 'REMOVED'
      ? rejected('TerminalStateReached', `The job '${job}' is ${status}`, stateOf(found))
      : accepted({ execution: describe(found, documentFor(found.view)) });
  };

  const update = async (
    device: string,
    job: string,
    request: AwsJobUpdateRequest,
  ): Promise<Answer> => {
    if (job === nextAwsJob) return noUpdateOfNext;
    const before = await find(device, job, request.executionNumber);
    if (before === undefined) return notFound(job);
    const { expectedVersion } = request;
    const { versionNumber } = before.word;
    if (expectedVersion !== undefined && expectedVersion !== versionNumber) {
      const message = `The expected version ${expectedVersion} is not that of the execution, ${versionNumber}`;
      return rejected('VersionMismatch', message, stateOf(before));
    }
    const said = await say(before, request);
    if ('outcome' in said) return said;
    const { after } = said;
    return accepted({
      ...(request.includeJobExecutionState === true && { executionState: stateOf(after) }),
      ...(request.includeJobDocument === true && { jobDocument: documentOf(after.view) }),
    });
  };

  /** Says to the machine what the device says, and remembers it as said. */
  const say = async (
    before: AwsView,
    request: AwsJobUpdateRequest,
  ): Promise<{ readonly after: AwsView } | Answer> => {
    const { view, word } = before;
    const { device, campaign } = view;
    const isOver = pendingStatusOf(view) === undefined;
    // The answer to the first one was lost.
    if (isOver && request.status === statusOf(before)) return { after: before };
    if (isOver && view.execution.status !== 'cancelling') return noTransition(before, request);
    const outcome = await updates.report(
      device,
      campaign.id,
      awsJobReport(view, request, runs.of(device)),
    );
    if (outcome.accepted && outcome.view.execution.status !== 'cancelling') {
      const after: AwsWord = {
        versionNumber: word.versionNumber + 1,
        said: request.status,
        statusDetails: request.statusDetails ?? word.statusDetails,
      };
      await site.commit([saveWord(view, after)]);
      const { version } = request.statusDetails ?? {};
      if (request.status === 'IN_PROGRESS' && version !== undefined) {
        await runs.versionReported(device, version);
      }
      await notices.tell(device);
      return { after: { view: outcome.view, word: after } };
    }
    if (!outcome.accepted && outcome.reason === 'not_found') return notFound(campaign.id);
    if (!outcome.accepted && outcome.reason === 'closed') return throttled;
    await notices.tell(device);
    return noTransition({ view: outcome.view ?? view, word }, request);
  };

  const answerTo = async (topic: AwsJobsTopic, payload: Uint8Array): Promise<Answer> => {
    const { device } = topic;
    if (topic.kind === 'jobs') {
      return topic.operation === 'get'
        ? answer(parseAwsJobsGet(payload), () => list(device))
        : answer(parseAwsJobsStart(payload), (request) => startNext(device, request));
    }
    const { job, operation } = topic;
    return operation === 'get'
      ? answer(parseAwsJobGet(payload), (request) => describeJob(device, job, request))
      : answer(parseAwsJobUpdate(payload), (request) => update(device, job, request));
  };

  const reply = (
    { topic, clientId, qos, payload }: InboundMessage,
    { outcome, body }: Answer,
  ): Promise<void> => {
    const clientToken = clientTokenIn(payload);
    const timestamp = Math.floor(now() / 1_000);
    const told = { ...body, timestamp, ...(clientToken === undefined ? {} : { clientToken }) };
    return publish({
      topic: `${topic}/${outcome}`,
      payload: Buffer.from(JSON.stringify(told)),
      qos: qos === 0 ? 0 : 1,
      to: clientId,
    });
  };

  return {
    async handle(topic, message) {
      const { sessionId, payload } = message;
      const { device } = topic;
      const others = inFlight.get(sessionId) ?? 0;
      if (others >= maxInFlight) return reply(message, throttled);
      inFlight.set(sessionId, others + 1);
      try {
        await updates.heard(device, 'aws');
        await reply(message, await turns.take(device, () => answerTo(topic, payload)));
      } catch (error) {
        if (isHoldfastError(error, 'REQUEST_THROTTLED')) return await reply(message, throttled);
        // What may go well another time is thrown on: the publish is not acknowledged, and comes again.
        finalReasonOf(error);
        await reply(message, internal);
        throw error;
      } finally {
        const left = (inFlight.get(sessionId) ?? 1) - 1;
        if (left > 0) inFlight.set(sessionId, left);
        else inFlight.delete(sessionId);
      }
    },

    async connected(device, sessionId) {
      await runs.begun(device, sessionId);
      if (deps.isSpoken(device)) await tellInTurn(device);
    },

    versionReported: (device, version) => runs.versionReported(device, version),
  };
};
