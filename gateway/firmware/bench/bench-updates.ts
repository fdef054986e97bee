/**
 * `npm run bench:updates [-- --json] [-- --quick] [-- --only site|cache|deltas]`: what an update of a whole site costs, measured at the
 * programs as they are shipped, on this machine: control plane, gateway, a hundred devices and the loads share its processors.
 */
import { cpus, loadavg } from 'node:os';
import { type Figure, tableOf } from '../../shadows/bench/figures.js';
import { measureCache } from './measure-cache.js';
import { type DeltaSizes, measureDeltas, sizesTable } from './measure-deltas.js';
import { measureSite } from './measure-site.js';

const isQuick = process.argv.includes('--quick');
const isJson = process.argv.includes('--json');
const only = process.argv[process.argv.indexOf('--only') + 1];
const isWanted = (part: string): boolean => !process.argv.includes('--only') || only === part;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

const sections: { readonly title: string; readonly figures: readonly Figure[] }[] = [];
let deltas: readonly DeltaSizes[] = [];
if (isWanted('site')) {
  const options = { devices: isQuick ? 10 : 100, idleS: isQuick ? 3 : 15 };
  sections.push({
    title: `An update of ${options.devices} devices: 5 MB, over a WAN of 1 MB/s`,
    figures: await measureSite({ say }, options),
  });
}
if (isWanted('cache')) {
  sections.push({
    title: 'Firmware to 50 downloads at once (curl), beside nginx with one worker',
    figures: await measureCache({ say }, { megabytes: isQuick ? 500 : 4_000 }),
  });
}
if (isWanted('deltas')) deltas = await measureDeltas({ say }, { isQuick });

const machine = { load: loadavg(), processors: cpus().length, node: process.version };
if (isJson) process.stdout.write(`${JSON.stringify({ machine, sections, deltas })}\n`);
else {
  for (const { title, figures } of sections) {
    process.stdout.write(`\n${title}\n\n${tableOf(figures)}\n`);
  }
  if (deltas.length > 0) process.stdout.write(`\n${sizesTable(deltas)}\n`);
  const load = machine.load.map((one) => one.toFixed(1)).join(', ');
  process.stdout.write(
    `\n${machine.processors} processors, load ${load}, Node ${machine.node}; clients and peers share them\n`,
  );
}
