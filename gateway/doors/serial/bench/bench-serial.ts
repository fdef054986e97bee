/**
 * `npm run bench:serial [-- --json] [-- --quick] [-- --only flash|lines|modbus]`: what hangs on wires, measured on this machine at the
 * programs as they are shipped, each figure beside what somebody else's program, or the wire itself, makes of the same.
 */
import { cpus, loadavg } from 'node:os';
import { type Figure, tableOf } from '../../../shadows/bench/figures.js';
import { measureFlash } from './measure-flash.js';
import { measureLines } from './measure-lines.js';
import { measureModbus } from './measure-modbus.js';

const isQuick = process.argv.includes('--quick');
const isJson = process.argv.includes('--json');
const only = process.argv[process.argv.indexOf('--only') + 1];
const isWanted = (part: string): boolean => !process.argv.includes('--only') || only === part;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

const sections: { readonly title: string; readonly figures: readonly Figure[] }[] = [];
if (isWanted('flash')) {
  const figures = await measureFlash({ say }, { times: isQuick ? 1 : 5 });
  sections.push({ title: 'A firmware into a simulated Uno with its real boot loader', figures });
}
if (isWanted('lines')) {
  const { lines, broker } = await measureLines({ say }, { seconds: isQuick ? 2 : 15 });
  sections.push({ title: 'Telemetry of many lines at once', figures: lines });
  sections.push({ title: 'The broker beside them', figures: broker });
}
if (isWanted('modbus')) {
  const requests = isQuick ? { rtu: 10, tcp: 500 } : { rtu: 100, tcp: 5_000 };
  const figures = await measureModbus({ say }, { requests });
  sections.push({ title: 'A unit of Modbus by libmodbus, read without a pause', figures });
}

const machine = { load: loadavg(), processors: cpus().length, node: process.version };
if (isJson) process.stdout.write(`${JSON.stringify({ machine, sections })}\n`);
else {
  for (const { title, figures } of sections) {
    process.stdout.write(`\n${title}\n\n${tableOf(figures)}\n`);
  }
  const load = machine.load.map((one) => one.toFixed(1)).join(', ');
  process.stdout.write(
    `\n${machine.processors} processors, load ${load}, Node ${machine.node}; boards, far ends and peers share them\n`,
  );
}
