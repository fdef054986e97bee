/**
 * What the laws of the merge are worth: the compiled merge with one thing taken out of it, in a folder of its own, must break them.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import t from 'tap';

type MergeLaws = typeof import('./shadow-merge-laws.js');
type LaneLaws = typeof import('./shadow-lanes-laws.js');
type Model = typeof import('./shadow-end-model.js');

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string | RegExp;
  readonly to: string;
  readonly breaks: 'merge' | 'lanes';
}

const mutants: readonly Mutant[] = [
  {
    name: 'no tie-break between writers of one time',
    file: 'shadow-stamp.js',
    from: /compareTimes\(a, b\) \|\| .*;/,
    to: 'compareTimes(a, b);',
    breaks: 'merge',
  },
  {
    name: 'no tombstones',
    file: 'shadow-merge.js',
    from: 'leaves.set(keyOf(leaf.path), leaf);',
    to: 'if (leaf.value !== undefined) leaves.set(keyOf(leaf.path), leaf);',
    breaks: 'merge',
  },
  {
    name: 'losers forgotten',
    file: 'shadow-merge.js',
    from: 'lost.set(id, loser);',
    to: '',
    breaks: 'merge',
  },
  {
    name: 'writes do not say what they overwrote',
    file: 'shadow-merge.js',
    from: 'over.length === 0',
    to: 'true',
    breaks: 'merge',
  },
  {
    name: 'the control plane forgets deletions at once',
    file: 'shadow-collection.js',
    from: 'const state = collectDead(merged, told);',
    to: 'const state = collectDead(merged, deadFromOthers(merged, replica));',
    breaks: 'lanes',
  },
  {
    name: 'writes below what a replica wrote there and forgot',
    file: 'shadow-merge.js',
    from: 'context.floor ?? zeroTime',
    to: 'zeroTime',
    breaks: 'lanes',
  },
  {
    name: 'what is superseded is told like the rest',
    file: 'shadow-resupply.js',
    from: 'operations: [...leaves.values()]',
    to: 'operations: [...leaves.values(), ...lost.values()]',
    breaks: 'lanes',
  },
];

const here = dirname(fileURLToPath(import.meta.url));
/** Always the same: what breaks them is not to hang on luck. */
const seed = 1;

const checkIn = async (folder: string, laws: Mutant['breaks']): Promise<() => void> => {
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(folder, file)).href);
  if (laws === 'merge') {
    const { checkMergeLaws } = (await load('shadow-merge-laws.js')) as MergeLaws;
    return () => checkMergeLaws(5_000, seed);
  }
  const { checkLaneLaws } = (await load('shadow-lanes-laws.js')) as LaneLaws;
  const { modelCloud, modelSite } = (await load('shadow-end-model.js')) as Model;
  return () => checkLaneLaws(modelCloud, modelSite, { numRuns: 5_000, seed });
};

for (const { name, file, from, to, breaks } of mutants) {
  t.test(`the laws are broken by: ${name}`, async (t) => {
    // Beside the others, so that what it imports is found.
    const folder = await mkdtemp(join(here, '..', 'mutant-'));
    t.teardown(() => rm(folder, { recursive: true }));
    await cp(here, folder, {
      recursive: true,
      filter: (path) => path === here || (path.endsWith('.js') && !path.includes('.test.')),
    });
    const source = await readFile(join(folder, file), 'utf8');
    const mutated = source.replace(from, to);
    t.not(mutated, source, 'there is something to take out');
    await writeFile(join(folder, file), mutated);
    t.throws(await checkIn(folder, breaks), /Property failed/);
  });
}
