/** Sixteen serial lines at once through a gateway as it is shipped: what comes through, what it takes, and what the broker's clients feel of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { cpuSecondsOf } from '../../../firmware/bench/process-figures.js';
import {
  openPublishProbe,
  type PublishProbe,
  type PublishTimes,
  publishTimes,
} from '../../../firmware/bench/publish-probe.js';
import type { Figure } from '../../../shadows/bench/figures.js';
import { openSiteUnderTest, type SiteUnderTest } from '../../../trust/site-under-test.js';
import { ahead, type FullLine, openFullLine } from './full-line.js';

export interface LinesBenchOptions {
  readonly seconds: number;
}

const lines = 16;
const baudRate = 115_200;
/** 8N1: ten bits a byte. */
const wireBytesPerS = baudRate / 10;
const floodTurns = 4;
const settlingMs = 1_000;

export const measureLines = async (
  { say }: { readonly say: (text: string) => void },
  { seconds }: LinesBenchOptions,
): Promise<{ readonly lines: Figure[]; readonly broker: Figure[] }> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-serial-'));
  const path = (name: string): string => join(folder, name);
  const wired = Array.from({ length: lines }, (_, at) => `full-${at + 1}`);
  const settings = [...wired, 'flooding'].map((device) => ({
    device,
    path: path(device),
    baudRate,
  }));
  const site = await openSiteUnderTest({ HOLDFAST_SERIAL__LINES: JSON.stringify(settings) });
  try {
    const credentials = await site.enrol('probe');
    const client = site.connect(credentials);
    const probe = openPublishProbe(client, 'probe');
    try {
      const { rest, flooded } = await feelFlood({ say, probe }, path('flooding'), seconds);
      say(`${lines} lines at ${baudRate} baud …`);
      const paced = await runLines(site, probe, { wired, path, seconds, bytesPerS: wireBytesPerS });
      say(`${lines} lines as fast as they are taken …`);
      const fast = await runLines(site, probe, { wired, path, seconds, bytesPerS: undefined });
      say(`${lines} MQTT clients as fast as they are taken …`);
      const mqtt = await runClients(site, seconds);
      return {
        lines: [
          {
            what: `${lines} lines at ${baudRate.toLocaleString('en')} baud, all full: acknowledged`,
            value: paced.perS,
            unit: 'msg/s',
            baseline: { what: 'what the wires carry', value: paced.offeredPerS },
          },
          { what: '  CPU of the gateway', value: paced.cpu * 100, unit: '%' },
          {
            what: `${lines} lines without a baud rate: acknowledged`,
            value: fast.perS,
            unit: 'msg/s',
            baseline: { what: `${lines} devices over MQTT, QoS 1`, value: mqtt.perS },
          },
          {
            what: '  CPU of the gateway a thousand messages',
            value: (fast.cpu / fast.perS) * 1e6,
            unit: 'ms',
            baseline: { what: 'over MQTT', value: (mqtt.cpu / mqtt.perS) * 1e6 },
          },
        ],
        broker: [
          ...feltOf('beside a line that is flooded with garbage', flooded, rest),
          ...feltOf(
            `beside ${lines} full lines at ${baudRate.toLocaleString('en')} baud`,
            paced.felt,
            rest,
          ),
        ],
      };
    } finally {
      await probe.close();
    }
  } finally {
    await site.close();
    await rm(folder, { recursive: true });
  }
};

const feel = async (probe: PublishProbe, seconds: number): Promise<PublishTimes> => {
  probe.take();
  await pause(seconds * 1_000);
  return probe.take();
};

/** By turns: what a machine does beside, and its disk, changes more from one minute to the next than a line could change it. */
const feelFlood = async (
  { say, probe }: { readonly say: (text: string) => void; readonly probe: PublishProbe },
  link: string,
  seconds: number,
): Promise<{ readonly rest: PublishTimes; readonly flooded: PublishTimes }> => {
  const flood = await openFlood(link);
  const [rest, flooded]: [number[], number[]] = [[], []];
  try {
    for (let turn = 1; turn <= floodTurns; turn += 1) {
      say(`the broker at rest, and beside a line that is flooded, ${turn} of ${floodTurns} …`);
      flood.end();
      await pause(settlingMs);
      rest.push(...(await feel(probe, seconds)).times);
      flood.begin();
      await pause(settlingMs);
      flooded.push(...(await feel(probe, seconds)).times);
    }
  } finally {
    await flood.close();
  }
  return { rest: publishTimes(rest), flooded: publishTimes(flooded) };
};

const feltOf = (beside: string, felt: PublishTimes, rest: PublishTimes): Figure[] => [
  {
    ...{ what: `publish to PUBACK ${beside}, p50`, value: felt.p50, unit: 'ms' },
    baseline: { what: 'at rest', value: rest.p50 },
  },
  {
    ...{ what: `  p99 (n = ${felt.count})`, value: felt.p99, unit: 'ms' },
    baseline: { what: 'at rest', value: rest.p99 },
  },
];

/** Garbage, more than twice what is read of a line; as much as possible would measure what it costs this process. */
const openFlood = async (link: string) => {
  const line = await openPseudoTerminal({ link });
  // The gateway asks who is there when it has the line.
  const asked = new Promise<void>((resolve) => line.onData(() => resolve()));
  await withDeadline(asked, 30_000, { doing: 'having the gateway take its line' });
  const garbage = Buffer.alloc(8_192, '{"t":"telemetry"\u0000\n');
  let flooding: NodeJS.Timeout | undefined;
  const end = (): void => clearInterval(flooding);
  return {
    begin: () => {
      flooding = setInterval(() => line.write(garbage), 50);
    },
    end,
    close: async () => {
      end();
      await line.close();
    },
  };
};

interface Run {
  readonly perS: number;
  /** Seconds of a processor a second. */
  readonly cpu: number;
}

const runLines = async (
  site: SiteUnderTest,
  probe: PublishProbe,
  {
    wired,
    path,
    seconds,
    bytesPerS,
  }: {
    readonly wired: readonly string[];
    readonly path: (name: string) => string;
    readonly seconds: number;
    readonly bytesPerS: number | undefined;
  },
): Promise<Run & { readonly offeredPerS: number; readonly felt: PublishTimes }> => {
  const open = await Promise.all(
    wired.map((device) => openFullLine({ device, link: path(device), bytesPerS })),
  );
  try {
    await Promise.all(open.map(({ welcome }) => welcome));
    for (const line of open) line.begin();
    await pause(1_000);
    sumOf(open);
    const before = cpuSecondsOf(site.pid);
    const begun = performance.now();
    const felt = await feel(probe, seconds);
    const { acknowledged, bytes, sent } = sumOf(open);
    const elapsedS = (performance.now() - begun) / 1_000;
    const cpu = (cpuSecondsOf(site.pid) - before) / elapsedS;
    const offeredPerS = bytesPerS === undefined ? 0 : (wired.length * bytesPerS * sent) / bytes;
    return { perS: acknowledged / elapsedS, cpu, offeredPerS, felt };
  } finally {
    await Promise.all(open.map((line) => line.close()));
  }
};

const sumOf = (open: readonly FullLine[]) => {
  const taken = open.map((line) => line.take());
  const sum = (of: 'acknowledged' | 'bytes' | 'sent'): number =>
    taken.reduce((all, one) => all + one[of], 0);
  return { acknowledged: sum('acknowledged'), bytes: sum('bytes'), sent: sum('sent') };
};

/** The same telemetry over mutual TLS, each device as far ahead of its acknowledgements. */
const runClients = async (site: SiteUnderTest, seconds: number): Promise<Run> => {
  const names = Array.from({ length: lines }, (_, at) => `mqtt-${at + 1}`);
  const clients = [];
  for (const name of names) clients.push(site.connect(await site.enrol(name)));
  let acknowledged = 0;
  let isOver = false;
  const publishing = clients.flatMap((client, at) =>
    Array.from({ length: ahead }, async (_, turn) => {
      for (let seq = turn; !isOver; seq += ahead) {
        const point = { value: 20 + (seq % 100) / 10, ts: Date.now(), boot: 'bench', seq };
        const topic = `dt/${names[at]}/telemetry/temperature`;
        await client.publishAsync(topic, JSON.stringify(point), { qos: 1 });
        acknowledged += 1;
      }
    }),
  );
  await pause(1_000);
  acknowledged = 0;
  const before = cpuSecondsOf(site.pid);
  const begun = performance.now();
  await pause(seconds * 1_000);
  const perS = acknowledged / ((performance.now() - begun) / 1_000);
  const cpu = (cpuSecondsOf(site.pid) - before) / ((performance.now() - begun) / 1_000);
  isOver = true;
  await Promise.all(publishing);
  await Promise.all(clients.map((client) => client.endAsync()));
  return { perS, cpu };
};
