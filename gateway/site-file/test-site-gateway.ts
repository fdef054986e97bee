/** A gateway of an enrolled site as a program, for tests of what it runs with. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
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
