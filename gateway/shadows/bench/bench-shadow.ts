/**
 * `npm run bench:shadow [-- --json] [-- --quick]`: what shadows cost, measured at the programs as they are shipped, on this machine: both
 * ends and the thousand devices share its processors.
 */
import { loadavg } from 'node:os';
import { openSiteWithCloud } from '../site-with-cloud.js';
import { type Figure, tableOf } from './figures.js';
import { measureDisk } from './measure-disk.js';
import { measureLatency } from './measure-latency.js';
import { measureLink } from './measure-link.js';
import { measureMemory } from './measure-memory.js';
import { measureUpdates } from './measure-updates.js';
import { connectCrowd } from './shadow-devices.js';

const isQuick = process.argv.includes('--quick');
const isJson = process.argv.includes('--json');
const crowd = isQuick ? 100 : 1_000;
const shadows = isQuick ? 5_000 : 100_000;
const samples = isQuick ? 50 : 500;
const seconds = isQuick ? 2 : 10;

const say = (text: string): void => {
  if (!isJson) process.stderr.write(`${text}\n`);
};

const figures: Figure[] = await measureDisk();
say(`${crowd} devices enrol and connect …`);
const both = await openSiteWithCloud();
try {
  const devices = await connectCrowd(both.site, crowd);
  await both.inStep();
  say('latency …');
  figures.push(...(await measureLatency(both, devices, samples)));
  say('durable updates …');
  figures.push(...(await measureUpdates(both, devices.slice(0, 100), seconds)));
  say('bytes on the link …');
  figures.push(...(await measureLink(both, devices)));
  for (const { client } of devices) client.end(true);
} finally {
  await both.close();
}
say(`${shadows} shadows …`);
figures.push(...(await measureMemory(shadows)));

const machine = { loadavg: loadavg(), node: process.version, crowd, shadows };
process.stdout.write(
  isJson
    ? `${JSON.stringify({ machine, figures })}\n`
    : `${tableOf(figures)}\nload of the machine: ${machine.loadavg.map((load) => load.toFixed(1)).join(', ')}\n`,
);
