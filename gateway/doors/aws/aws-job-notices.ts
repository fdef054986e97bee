/**
 * Tells devices on the jobs topics of AWS IoT what is pending: on `notify` when that list has other members than it was last told, on
 * `notify-next` when another one is the first. Whoever is told of the same twice runs it twice (version 1 of the SDK does), so what was told
 * is kept. A device that is away is told when it is back, with an address that is good then.
 */
import type {
  AwsExecutionSummary,
  AwsJobsNotice,
  AwsNextJobNotice,
} from '@holdfast/protos/mqtt/aws-jobs-payload';
import { buildAwsJobsNotice } from '@holdfast/protos/mqtt/aws-topics';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { OutboundMessage } from '../../broker/broker.js';
import type { DeviceExecutions, ExecutionView } from '../../updates/device-executions.js';
import { describe, pendingOf, pendingStatusOf, summaryOf } from './aws-execution.js';
import { type AwsJobRows, type AwsTold, saveTold, toldOf, wordOf } from './aws-job-rows.js';

export interface AwsJobNoticesDeps {
  readonly updates: Pick<DeviceExecutions, 'executionsOf'>;
  readonly site: AwsJobRows;
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Whether anybody is subscribed to a topic, connected or not. */
  readonly isHeard: (topic: string) => boolean;
  readonly isConnected: (device: string) => boolean;
  readonly documentOf: (view: ExecutionView) => JsonObject;
  readonly now: () => number;
}

/** As many as AWS IoT tells of at once. */
const mostTold = 10;

/** To be called for one device after the other. */
export interface AwsJobNotices {
  /** Tells a device what it was not told yet. */
  tell(device: string): Promise<void>;
  /** It was answered with this one as the first: it need not be told of it. */
  answered(first: ExecutionView): Promise<void>;
}

export const awsJobNotices = ({
  updates,
  site,
  publish,
  isHeard,
  isConnected,
  documentOf,
  now,
}: AwsJobNoticesDeps): AwsJobNotices => {
  const timestamp = (): number => Math.floor(now() / 1_000);

  const send = async (
    device: string,
    notice: 'notify' | 'notify-next',
    body: () => Promise<AwsJobsNotice | AwsNextJobNotice>,
  ): Promise<void> => {
    const topic = buildAwsJobsNotice(device, notice);
    if (!isHeard(topic)) return;
    await publish({ topic, payload: Buffer.from(JSON.stringify(await body())), qos: 1 });
  };

  const listed = async (pending: readonly ExecutionView[]): Promise<AwsJobsNotice['jobs']> => {
    const jobs: { IN_PROGRESS?: AwsExecutionSummary[]; QUEUED?: AwsExecutionSummary[] } = {};
    for (const view of pending.slice(0, mostTold)) {
      const summary = summaryOf({ view, word: await wordOf(site, view) });
      const status = pendingStatusOf(view);
      if (status !== undefined) jobs[status] = [...(jobs[status] ?? []), summary];
    }
    return jobs;
  };

  const tell = async (device: string): Promise<void> => {
    if (!isConnected(device)) return;
    const pending = pendingOf(updates.executionsOf(device));
    const [first] = pending;
    const due: AwsTold = {
      list: pending
        .map(({ number }) => number)
        .sort()
        .join(' '),
      head: first === undefined ? '' : String(first.number),
    };
    const told = await toldOf(site, device);
    if (told.list === due.list && told.head === due.head) return;
    if (told.list !== due.list) {
      await send(device, 'notify', async () => ({
        timestamp: timestamp(),
        jobs: await listed(pending),
      }));
    }
    if (told.head !== due.head) {
      await send(device, 'notify-next', async () => ({
        timestamp: timestamp(),
        ...(first && {
          execution: describe({ view: first, word: await wordOf(site, first) }, documentOf(first)),
        }),
      }));
    }
    // Afterwards: what is told twice because of a crash is better than what is not told at all.
    await site.commit([saveTold(device, due)]);
  };
  return {
    tell,
    async answered({ device, number }) {
      const told = await toldOf(site, device);
      const head = String(number);
      if (told.head !== head) await site.commit([saveTold(device, { ...told, head })]);
    },
  };
};
