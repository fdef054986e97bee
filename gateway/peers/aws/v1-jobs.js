/** `jobs` of version 1 of the SDK, over a connection of its own: each job is told as it comes, and ended when it is said so. */
import { once } from 'node:events';

export const jobsOf = (open, thing, tell) => {
  const taken = new Map();
  return {
    async takeJobs() {
      const jobs = await open();
      jobs.subscribeToJobs(thing, (error, job) => {
        if (error) return tell({ event: 'error', message: String(error) });
        taken.set(job.id, job);
        const { id, document, operation, status } = job;
        return tell({ event: 'job', message: { id, document, operation, ...status } });
      });
      await new Promise((resolve) => jobs.startJobNotifications(thing, resolve));
    },
    /** `verb` is `inProgress`, `succeeded` or `failed`. */
    sayOfJob: (id, verb, details) =>
      new Promise((resolve, reject) =>
        taken.get(id)[verb](details ?? {}, (error) => (error ? reject(error) : resolve())),
      ),
    /** Asks for the next job, and says what was told of jobs until a message of its own had come back. */
    async nextJob() {
      const jobs = await open();
      const told = [];
      jobs.subscribeToJobs(thing, (error, job) => told.push(error ?? job));
      await new Promise((resolve) => jobs.startJobNotifications(thing, resolve));
      const echo = `dt/${thing}/echo`;
      jobs.subscribe(echo);
      const back = once(jobs, 'message');
      jobs.publish(echo, 'x');
      await back;
      return told.map(String);
    },
  };
};
