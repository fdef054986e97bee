/** What publishes feel of a hundred devices that load at once, from the gateway as it is shipped, over mutual TLS. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Credentials } from '@holdfast/devices/agent/identity';
import type { Figure } from '../../shadows/bench/figures.js';
import type { PublishProbe } from './publish-probe.js';

export interface LoadingOptions {
  /** For certificate and key. */
  readonly folder: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly seconds: number;
}

const atOnce = 100;

export const measureLoading = async (
  probe: PublishProbe,
  { identity, key }: Credentials,
  { folder, sha256, sizeBytes, seconds }: LoadingOptions,
): Promise<Figure[]> => {
  const [gateway = { host: '', https: 0 }] = identity.gateways;
  const [cert, keyFile, root] = ['cert', 'key', 'root'].map((name) => join(folder, `${name}.pem`));
  if (cert === undefined || keyFile === undefined || root === undefined) return [];
  await writeFile(cert, `${identity.certificate}${identity.siteCa}`);
  await writeFile(keyFile, key, { mode: 0o600 });
  await writeFile(root, identity.root);
  probe.take();
  await pause(seconds * 1_000);
  const rest = probe.take();

  const url = `https://${gateway.host}:${gateway.https}/firmware/sha256/${sha256}`;
  const who = ['--cacert', root, '--cert', cert, '--key', keyFile];
  const parallel = ['--parallel', '--parallel-immediate', '--parallel-max', `${atOnce}`];
  const begun = performance.now();
  let downloads = 0;
  while (performance.now() - begun < seconds * 1_000) {
    await promisify(execFile)('curl', [
      ...['-s', '-f', ...who, ...parallel, '-o', '/dev/null', `${url}?n=[1-${2 * atOnce}]`],
    ]);
    downloads += 2 * atOnce;
  }
  const elapsedS = (performance.now() - begun) / 1_000;
  const meanwhile = probe.take();
  return [
    {
      what: `publish to PUBACK while ${atOnce} load at full speed, p50`,
      value: meanwhile.p50,
      unit: 'ms',
      baseline: { what: 'right before', value: rest.p50 },
    },
    {
      what: `publish to PUBACK while ${atOnce} load, p99 (n = ${meanwhile.count})`,
      value: meanwhile.p99,
      unit: 'ms',
      baseline: { what: 'right before', value: rest.p99 },
    },
    {
      what: 'what they load together',
      value: (downloads * sizeBytes) / 1e6 / elapsedS,
      unit: 'MB/s',
    },
  ];
};
