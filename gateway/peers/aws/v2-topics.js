/** A device on version 2 of the SDK with its clients of topics: `IotShadowClient` and `IotJobsClient`. */
import { randomUUID } from 'node:crypto';
import { connectionOf, qos } from './v2-connection.js';

const verbs = ['Get', 'Update', 'Delete'];
const jobOperations = [
  'GetPendingJobExecutions',
  'StartNextPendingJobExecution',
  'DescribeJobExecution',
  'UpdateJobExecution',
];

export const openDevice = (options, tell) => {
  const { thing: thingName } = options;
  const connection = connectionOf(options, tell);
  const shadows = connection.shadowTopics();
  const jobs = connection.jobTopics();
  /** Requests without an answer, in their order: what has no token answers the first. */
  const waiting = [];
  const settle = (answer, { clientToken } = {}) => {
    const at = clientToken
      ? waiting.findIndex(({ token }) => token === clientToken)
      : waiting.length - 1;
    if (at < 0) return tell({ event: 'foreign', ...answer });
    return waiting.splice(at, 1)[0].resolve(answer);
  };
  const ask = (publish, request) =>
    new Promise((resolve, reject) => {
      const clientToken = request.clientToken ?? randomUUID();
      waiting.push({ token: clientToken, resolve });
      publish({ ...request, clientToken }, qos).catch(reject);
    });
  const onAnswer = (client, event, names) =>
    Promise.all(
      ['Accepted', 'Rejected'].map((outcome) =>
        client[`subscribeTo${event}${outcome}`](names, qos, (error, message) => {
          if (error) return tell({ event: 'error', message: error.message });
          return settle({ [outcome.toLowerCase()]: message }, message);
        }),
      ),
    );
  const subscribed = new Set();
  /** Subscribes once for each shadow, as a program does at its start. */
  const call = async (verb, shadowName, request = {}) => {
    const noun = shadowName ? 'NamedShadow' : 'Shadow';
    const names = shadowName ? { thingName, shadowName } : { thingName };
    if (!subscribed.has(shadowName)) {
      subscribed.add(shadowName);
      for (const each of verbs) await onAnswer(shadows, `${each}${noun}`, names);
    }
    const publish = (message, at) => shadows[`publish${verb}${noun}`](message, at);
    return ask(publish, { ...names, ...request });
  };
  const onEvent = (event) => (error, message) =>
    tell(error ? { event: 'error', message: error.message } : { event, message });
  return {
    connect: () => connection.connect(),
    disconnect: () => connection.disconnect(),
    get: (shadowName, clientToken) => call('Get', shadowName, { clientToken }),
    update: (request, shadowName) => call('Update', shadowName, request),
    delete: (shadowName, clientToken) => call('Delete', shadowName, { clientToken }),
    async watch(shadowName) {
      const noun = shadowName ? 'NamedShadow' : 'Shadow';
      const names = shadowName ? { thingName, shadowName } : { thingName };
      await shadows[`subscribeTo${noun}DeltaUpdatedEvents`](names, qos, onEvent('delta'));
      await shadows[`subscribeTo${noun}UpdatedEvents`](names, qos, onEvent('documents'));
    },
    async jobs(operation, request) {
      const name = jobOperations.find((each) => each.toLowerCase() === operation.toLowerCase());
      const names = { thingName, ...(request.jobId && { jobId: request.jobId }) };
      const topic = `${name} ${request.jobId}`;
      if (!subscribed.has(topic)) await onAnswer(jobs, name, names);
      subscribed.add(topic);
      return ask((message, at) => jobs[`publish${name}`](message, at), { ...names, ...request });
    },
    async watchJobs() {
      const names = { thingName };
      await jobs.subscribeToJobExecutionsChangedEvents(names, qos, onEvent('jobs'));
      await jobs.subscribeToNextJobExecutionChangedEvents(names, qos, onEvent('nextJob'));
    },
  };
};
