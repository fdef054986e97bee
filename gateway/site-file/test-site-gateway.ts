/** A gateway of an enrolled site as a program, for tests of what it runs with. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import type { Test } from 'tap';
import { enrol } from '../faults/enrolled-site.js';
import { AppliedConfiguration } from './applied-configuration.js';

export const gatewayBin = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));

export const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Ports of the gateway's choice on the loopback, so that tests do not meet. */
export const quietYaml = (more = ''): string =>
  `listen:\n  host: 127.0.0.1\n  mqttsPort: 0\n  httpsPort: 0\n  consolePort: 0\n${more}`;

/** A folder that a gateway finds its enrolment in. */
export const enrolledFolder = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-site-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await enrol(await createTestFleet(), folder);
  return folder;
};

export const startGateway = async (
  t: Test,
  folder: string,
  args: readonly string[] = [],
): Promise<Child> => {
  const child = await startChild({ bin: gatewayBin, args: ['--data', folder, ...args] });
  t.teardown(() => child.kill());
  return child;
};

export const appliedIn = (dataDir: string): Promise<AppliedConfiguration> =>
  AppliedConfiguration.open({ log: silent }, { dataDir });

/** Asks the local API of a gateway that has no people yet; what a test takes its answer for is the test's to know. */
export const localApi =
  ({ ports }: Child) =>
  async <T = unknown>(method: string, path: string, body?: object): Promise<T> => {
    const asked = request({
      ...{ host: '127.0.0.1', port: ports.console, method, path: `/api/v1${path}` },
      headers: { authorization: 'Bearer nobody', 'content-type': 'application/json' },
      rejectUnauthorized: false,
      agent: false,
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = await once(asked, 'response');
    let text = '';
    for await (const chunk of answer.setEncoding('utf8')) text += chunk;
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${text}`);
    return JSON.parse(text) as T;
  };

/** Asks again and again, since nobody tells when something has come: the first answer that is so. */
export const askedUntil = async <T>(
  ask: () => Promise<T>,
  isSo: (answer: T) => boolean,
): Promise<T> => {
  let answer = await ask();
  const isDone = async (): Promise<boolean> => {
    if (isSo(answer)) return true;
    answer = await ask();
    return isSo(answer);
  };
  await waitUntil('what is asked for', isDone, { everyMs: 50 });
  return answer;
};
