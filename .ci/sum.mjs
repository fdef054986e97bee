// Prints what tap counted over all runs, and exits 1 unless everything ran and passed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [stepFailed, directory] = process.argv.slice(2);
const sum = { pass: 0, fail: 0, skip: 0 };
let unreadable = 0;

for (const name of ['test.tap', 'peers.tap', 'faults.tap']) {
  if (!readdirSync(directory).includes(name)) {
    console.log(`${name}: the runner wrote no result`);
    unreadable += 1;
    continue;
  }
  // The runner's own count is the last comment of the form `# { total: 21, pass: 21 }`.
  const counts = readFileSync(join(directory, name), 'utf8')
    .match(/^# \{ total: .*\}$/gm)
    ?.at(-1);
  if (counts === undefined) {
    console.log(`${name}: the runner counted nothing`);
    unreadable += 1;
    continue;
  }
  console.log(`${name}: ${counts.slice(2)}`);
  for (const [, key, value] of counts.matchAll(/(pass|fail|skip): (\d+)/g))
    sum[key] += Number(value);
}

if (sum.skip > 0)
  console.log(`${sum.skip} skipped: in CI a skipped test is a failure, its peer is missing`);
const failed = sum.fail + sum.skip + unreadable;
console.log(`${sum.pass} passed, ${failed} failed`);
process.exitCode = failed > 0 || stepFailed !== '0' || sum.pass === 0 ? 1 : 0;
