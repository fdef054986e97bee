/** A campaign for a whole site behind a slow WAN: how long it takes, what crosses the WAN, and what the broker's clients feel of it. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { enrol } from '@holdfast/devices/agent/enrol';
import { type Credentials, loadCredentials } from '@holdfast/devices/agent/identity';
import { openCloudClient } from '@holdfast/provisioning/cli/cloud-client';
import { readProfile } from '@holdfast/provisioning/cli/profile';
import { Fleet, model } from '@holdfast/provisioning/quickstart/fleet';
import * as v from 'valibot';
import type { Figure } from '../../shadows/bench/figures.js';
import { measureLoading } from './measure-loading.js';
import { cpuSecondsOf, peakMiB } from './process-figures.js';
import { connectProbe, openPublishProbe, type PublishProbe } from './publish-probe.js';

export interface SiteBenchOptions {
  readonly devices: number;
  readonly idleS: number;
}

const imageBytes = 5_000_000;
const wanBytesPerS = 1_000_000;
const limitMs = 900_000;
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const measureSite = async (
  { say }: { readonly say: (text: string) => void },
  { devices, idleS }: SiteBenchOptions,
): Promise<Figure[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-updates-'));
  say(`${devices} devices enrol and connect …`);
  const fleet = await Fleet.open({
    ...{ dataDirectory: join(folder, 'fleet'), log: silent },
    ...{ agents: 0, simulated: devices, hasSerial: false, wanBytesPerS },
    args: { simulator: ['--simulate.doors=jobs', '--simulate.interval-s=60'] },
  });
  try {
    const credentials = await enrolProbe(fleet, join(folder, 'probe'));
    const probe = openPublishProbe(await connectProbe(credentials), 'probe');
    try {
      const image = join(folder, 'image.bin');
      const bytes = randomBytes(imageBytes);
      await writeFile(image, bytes);
      await fleet.releaseFirmware(image, '2.0.0');
      say('the site at rest …');
      const rest = await atRest(fleet, probe, idleS);
      const update = await updateAll(fleet, probe, rest, { devices, say });
      say('a hundred load at once …');
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const loading = { folder, sha256, sizeBytes: imageBytes, seconds: idleS };
      return [...update, ...(await measureLoading(probe, credentials, loading))];
    } finally {
      await probe.close();
    }
  } finally {
    await fleet.close();
    await rm(folder, { recursive: true });
  }
};

interface Rest {
  readonly p50: number;
  readonly p99: number;
  /** Over the link: what the probe publishes, and that both ends are there. */
  readonly bytesPerS: number;
}

const atRest = async (fleet: Fleet, probe: PublishProbe, seconds: number): Promise<Rest> => {
  // What came of the beginning is told first.
  await pause((seconds * 1_000) / 3);
  probe.take();
  const { link } = fleet.wan.proxies;
  const before = link.bytes;
  await pause(seconds * 1_000);
  return { ...probe.take(), bytesPerS: (link.bytes - before) / seconds };
};

const updateAll = async (
  fleet: Fleet,
  probe: PublishProbe,
  rest: Rest,
  { devices, say }: { readonly devices: number; readonly say: (text: string) => void },
): Promise<Figure[]> => {
  const gateway = fleet.child('gateway').pid;
  const cpuBefore = cpuSecondsOf(gateway);
  const { link, https } = fleet.wan.proxies;
  const linkBefore = link.bytes;
  const httpsBefore = https.bytes;
  probe.take();
  const cloud = openCloudClient(await readProfile(fleet.folder('cli'), 'cloud'));
  try {
    say('the campaign …');
    const begun = performance.now();
    await fleet.holdfast(
      ...['campaign', 'create', 'bench', '--firmware', `${model}@2.0.0`],
      ...['--concurrency', `${devices}`, '--start'],
    );
    let shown = -1;
    for (;;) {
      const { progress } = await cloud.call(cloud.campaigns, cloud.campaigns.getCampaign, {
        name: 'campaigns/bench',
      });
      const succeeded = Number(progress?.succeeded ?? 0);
      if (succeeded !== shown) say(`  ${succeeded} of ${devices} confirmed`);
      shown = succeeded;
      if (succeeded >= devices) break;
      if (performance.now() - begun > limitMs) throw new Error('the campaign does not end');
      await pause(500);
    }
    const seconds = (performance.now() - begun) / 1_000;
    const told = Math.max(0, link.bytes - linkBefore - rest.bytesPerS * seconds);
    const wan = https.bytes - httpsBefore + told;
    const meanwhile = probe.take();
    const alone = imageBytes / wanBytesPerS;
    return [
      {
        what: 'until all are confirmed at the control plane',
        value: seconds,
        unit: 's',
        baseline: { what: 'the image alone over the WAN', value: alone },
      },
      {
        what: 'bytes over the WAN beyond those at rest, in images',
        value: wan / imageBytes,
        unit: '',
        baseline: { what: 'each device for itself', value: devices },
        aim: '≤ 1.05',
      },
      {
        what: 'publish to PUBACK meanwhile, p50',
        value: meanwhile.p50,
        unit: 'ms',
        baseline: { what: 'at rest', value: rest.p50 },
      },
      {
        what: `publish to PUBACK meanwhile, p99 (n = ${meanwhile.count})`,
        value: meanwhile.p99,
        unit: 'ms',
        baseline: { what: 'at rest', value: rest.p99 },
      },
      {
        what: 'of these, what both ends tell each other',
        value: told / 1_000,
        unit: 'kB',
      },
      { what: 'CPU of the gateway', value: cpuSecondsOf(gateway) - cpuBefore, unit: 's' },
      { what: 'memory of the gateway, at most', value: peakMiB(gateway), unit: 'MiB' },
    ];
  } finally {
    cloud.close();
  }
};

/** A device of another model, so that it has no update of its own. */
const enrolProbe = async (fleet: Fleet, dataDir: string): Promise<Credentials> => {
  const claim = await fleet.holdfast('--gateway', 'device', 'claim', 'probe');
  const { code } = v.parse(v.object({ code: v.string() }), claim);
  await enrol(
    { log: silent },
    {
      ...{ dataDir, proof: { code }, deviceId: 'probe', model: 'probe' },
      gateway: `127.0.0.1:${fleet.port('devices')}`,
    },
  );
  return loadCredentials(dataDir, silent);
};
