import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobUpdateRequest } from '@holdfast/protos/mqtt/job-payload';
import t, { type Test } from 'tap';
import { openJobHandlers } from './job-command.js';
import { silentLog as log } from './log.js';
import { type JobWork, PlainJobs } from './plain-jobs.js';
import { findMarked } from './update/process-group.js';
import { makeDirectory } from './update/update-fixture.js';

const setUp = async (t: Test, handlers: ReadonlyMap<string, JobWork> = new Map()) => {
  const directory = await makeDirectory();
  const told: JobUpdateRequest[] = [];
  let look: () => void = () => undefined;
  const open = () =>
    PlainJobs.open(
      {
        handlers,
        log,
        tell: (_, update) => {
          told.push(update);
          look();
        },
      },
      { dataDir: directory.path },
    );
  const jobs = await open();
  t.teardown(async () => {
    await jobs.close();
    await directory.remove();
  });
  const heard = async (status: string): Promise<JobUpdateRequest> => {
    for (;;) {
      const found = told.find((update) => update.status === status);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        look = resolve;
      });
    }
  };
  const record = async () =>
    JSON.parse(await readFile(join(directory.path, 'jobs.json'), 'utf8')) as unknown[];
  return { jobs, told, heard, record, reopen: open, directory: directory.path };
};

t.test('runs the handler that a job names, with the document on its standard input', async (t) => {
  const command = 'read document; echo "got $document"; echo more >&2';
  const handlers = await openJobHandlers(
    { log },
    { handlers: [{ name: 'collect', command, timeoutS: 20 }], owner: 'none' },
  );
  const { jobs, heard, record } = await setUp(t, handlers);
  const document = { operation: 'collect', what: 'logs' };
  await jobs.offered('job-1', document);
  await heard('in_progress');
  t.match(await heard('succeeded'), { details: { output: `got ${JSON.stringify(document)}` } });
  // The answer to an earlier status says nothing of the last one.
  await jobs.answered('job-1', 'in_progress');
  t.equal((await record()).length, 1);
  await jobs.answered('job-1', 'succeeded');
  t.same(await record(), []);
});

t.test('reports what fails, what takes too long and what says too much', async (t) => {
  const owner = `jobs-${String(process.pid)}`;
  const handlers = await openJobHandlers(
    { log },
    {
      handlers: [
        { name: 'fail', command: 'echo it is broken >&2; exit 3', timeoutS: 20 },
        { name: 'hang', command: 'sleep 60 & sleep 60', timeoutS: 0.2 },
        { name: 'talk', command: 'head -c 100000 /dev/zero | tr "\\0" x', timeoutS: 20 },
      ],
      owner,
    },
  );
  for (const [operation, status, expected] of [
    ['fail', 'failed', { error: 'exit 3: it is broken' }],
    ['hang', 'failed', { error: /took longer than 200 ms/ }],
    ['talk', 'succeeded', { details: { output: 'x'.repeat(1_000), output_truncated: 'true' } }],
  ] as const) {
    const { jobs, heard } = await setUp(t, handlers);
    await jobs.offered('job-1', { operation });
    t.match(await heard(status), expected, operation);
  }
  t.same(await findMarked(owner), [], 'nothing goes on');
});

t.test('rejects what it was not configured for', async (t) => {
  const { jobs, told } = await setUp(t);
  await jobs.offered('job-1', { operation: 'format_disk' });
  await jobs.offered('job-2', { do: 'something' });
  t.match(told, [
    { status: 'rejected', error: 'This device knows no operation format_disk' },
    { status: 'rejected', error: 'The document has no operation' },
  ]);
});

const never: JobWork = (_, signal) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

t.test('ends a job that is taken back', async (t) => {
  const { jobs, heard } = await setUp(t, new Map([['wait', never]]));
  await jobs.offered('job-1', { operation: 'wait' });
  await heard('in_progress');
  await jobs.cancelled('job-1');
  await heard('cancelled');
  await jobs.answered('job-1', null);
  t.notOk(jobs.knows('job-1'));
});

t.test(
  'a job that was under way when the device stopped has failed, and is told until it is taken',
  async (t) => {
    let begun = 0;
    const handlers = new Map<string, JobWork>([
      [
        'wait',
        (...given) => {
          begun += 1;
          return never(...given);
        },
      ],
    ]);
    const { jobs, heard, reopen } = await setUp(t, handlers);
    await jobs.offered('job-1', { operation: 'wait' });
    await jobs.offered('job-1', { operation: 'wait' });
    t.equal(begun, 1, 'an offer that is repeated begins nothing twice');
    await jobs.close();
    const after = await reopen();
    t.match(await heard('failed'), { error: 'the device stopped while it was under way' });
    after.connected();
    await after.answered('job-1', 'failed');
    await after.offered('job-1', { operation: 'wait' });
    t.equal(begun, 2, 'another attempt of the same job');
    await after.close();
  },
);
