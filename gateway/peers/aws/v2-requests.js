/** A device on version 2 of the SDK with its request-response clients: `IotShadowClientv2` and `IotJobsClientv2`. */
import { connectionOf } from './v2-connection.js';

export const openDevice = (options, tell) => {
  const { thing: thingName } = options;
  const connection = connectionOf(options, tell);
  const shadows = connection.shadowRequests();
  const jobs = connection.jobRequests();
  /** The name of a call, and what of its request names the shadow. */
  const of = (shadowName) =>
    shadowName ? ['NamedShadow', { thingName, shadowName }] : ['Shadow', { thingName }];
  const call = (verb, shadowName, request = {}) => {
    const [noun, names] = of(shadowName);
    return answerOf(shadows[`${verb}${noun}`]({ ...names, ...request }));
  };
  const watch = async (stream, event) => {
    stream.on('incomingPublish', ({ message }) => tell({ event, message }));
    const subscribed = new Promise((resolve) => {
      stream.on('subscriptionStatus', ({ type }) => type === 0 && resolve());
    });
    stream.open();
    await subscribed;
  };
  return {
    connect: () => connection.connect(),
    disconnect: () => connection.disconnect(),
    get: (shadowName) => call('get', shadowName),
    update: (request, shadowName) => call('update', shadowName, request),
    delete: (shadowName) => call('delete', shadowName),
    async watch(shadowName) {
      const [noun, names] = of(shadowName);
      await watch(shadows[`create${noun}DeltaUpdatedStream`](names), 'delta');
      await watch(shadows[`create${noun}UpdatedStream`](names), 'documents');
    },
    jobs: (operation, request) => answerOf(jobs[operation]({ thingName, ...request })),
    async watchJobs() {
      await watch(jobs.createJobExecutionsChangedStream({ thingName }), 'jobs');
      await watch(jobs.createNextJobExecutionChangedStream({ thingName }), 'nextJob');
    },
  };
};

const answerOf = (promise) =>
  promise.then(
    (accepted) => ({ accepted }),
    (error) =>
      error.modeledError === undefined
        ? { failed: `${error.message} ${error.innerError?.message ?? ''}` }
        : { rejected: error.modeledError },
  );
