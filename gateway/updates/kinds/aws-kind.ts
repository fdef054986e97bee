/** A device on AWS IoT's SDK, unmodified: it takes its job, loads the image, and is another process and another connection after its restart. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { enrol } from '@holdfast/devices/agent/enrol';
import { loadCredentials } from '@holdfast/devices/agent/identity';
import type { Test } from 'tap';
import { type SdkDevice, startSdkDevice } from '../../doors/aws/test-sdk-device.js';
import type { KindOfDevice } from './kind.js';

export interface AwsKindOptions {
  readonly device: string;
  readonly model: string;
  readonly image: string;
  /** Before and after. */
  readonly versions: readonly [string, string];
  readonly code: string;
  /** Its own folder. */
  readonly folder: string;
  readonly ports: { readonly mqtts: number; readonly https: number };
}

interface JobExecution {
  readonly jobId: string;
  readonly jobDocument: { readonly url: string; readonly sha256: string };
}

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const openAwsKind = async (t: Test, options: AwsKindOptions): Promise<KindOfDevice> => {
  const { device: thing, model, image, versions, code, folder, ports } = options;
  const gateway = `127.0.0.1:${ports.https}`;
  const proof = { proof: { code }, deviceId: thing, firmwareVersion: versions[0] };
  await enrol({ log: silent }, { dataDir: folder, gateway, model, ...proof });
  const { identity, key } = await loadCredentials(folder, silent);
  const ca = identity.root;
  const cert = `${identity.certificate}${identity.siteCa}`;
  const steps: string[] = [];
  /** One run of its software. */
  const boot = async (): Promise<SdkDevice> => {
    const kind = { kind: 'v2-requests', protocol: 5 } as const;
    const run = startSdkDevice(t, { ...kind, port: ports.mqtts, ca, cert, key, thing });
    await run.connect();
    await run.watchJobs();
    return run;
  };
  let running: SdkDevice | undefined;
  return {
    ...{ device: thing, model, image },
    story: () => steps.join(', '),
    async start() {
      running = await boot();
      const reported = { firmware: { version: versions[0] } };
      await running.update({ state: { reported } });
    },
    async update() {
      const before = running;
      if (before === undefined) throw new Error('it was not started');
      await jobOf(before);
      steps.push('told of a job');
      const { accepted } = await before.jobs('startNextPendingJobExecution', {});
      // As the SDK names what it was told.
      const { execution } = accepted as { readonly execution: JobExecution };
      const { jobId, jobDocument } = execution;
      const bytes = await download(jobDocument.url, ca);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      if (sha256 !== jobDocument.sha256) throw new Error('it loaded something else');
      if (!bytes.equals(await readFile(image))) throw new Error('another image');
      steps.push('loaded');
      await before.disconnect();
      const after = await boot();
      running = after;
      steps.push('restarted');
      const statusDetails = { version: versions[1] };
      const said = { jobId, status: 'SUCCEEDED', statusDetails };
      const answer = await after.jobs('updateJobExecution', said);
      if (answer.accepted === undefined) throw new Error(JSON.stringify(answer));
    },
  };
};

/** Until it is told of a next job. */
const jobOf = async (run: SdkDevice): Promise<void> => {
  const pending = await run.jobs('getPendingJobExecutions', {});
  if ((pending.accepted?.queuedJobs as unknown[] | undefined)?.length) return;
  for (;;) {
    const { message } = await run.next('nextJob');
    if (message?.execution) return;
  }
};

const download = (url: string, ca: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const asked = request(url, { ca }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      resolve(Buffer.concat(chunks));
    });
    asked.once('error', reject);
    asked.end();
  });
