/**
 * What the laws of campaigns are worth: the compiled updates with one thing taken out of them, in a folder of their own, must break them.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';

type Commands = typeof import('./model-commands.js');

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string | RegExp;
  readonly to: string;
}

const mutants: readonly Mutant[] = [
  {
    name: 'several updates of a device at once',
    file: 'campaign-turns.js',
    from: 'return other.campaign.id;',
    to: 'return undefined;',
  },
  {
    name: 'places that are taken only after the commit',
    file: 'campaign-turns.js',
    from: 'run.places.add(device);',
    to: '',
  },
  {
    name: 'nobody counted as missing before the commit',
    file: 'campaign-turns.js',
    from: 'isMissing ? this.#deps.availability.reserve(device) : undefined',
    to: 'undefined',
  },
  {
    name: 'a budget that installing does not ask for',
    file: 'campaign-turns.js',
    from: 'const missing = availability.whyNot(device);',
    to: 'const missing = undefined;',
  },
  {
    name: 'offers in spite of a stop',
    file: 'emergency-stop.js',
    from: 'const [stop] = this.states();',
    to: 'const [stop] = [];',
  },
  {
    name: 'offers by a plan of any age',
    file: 'campaign-gates.js',
    from: 'if (ageMs > most)',
    to: 'if (false)',
  },
  {
    name: 'executions that are cancelled and never end',
    file: 'execution-attempts.js',
    from: "return end(state, 'cancelled', 'the device did not answer');",
    to: 'return stay(state);',
  },
  {
    name: 'ends that are told again',
    file: 'execution.js',
    from: 'if (isTerminal(state.status))\n        return afterTheEnd(state, event);',
    to: '',
  },
  {
    name: 'counts that forget where an execution was',
    file: 'campaign-run.js',
    from: 'this.#count(device, -1);',
    to: '',
  },
];

const here = dirname(fileURLToPath(import.meta.url));
/** Always the same: what breaks them is not to hang on luck. */
const seed = 1;

t.setTimeout(1_800_000);
const plan = faultPlan();
t.comment(plan.description);

for (const { name, file, from, to } of plan.pick(mutants, 2)) {
  t.test(`the laws are broken by: ${name}`, { timeout: 600_000 }, async (t) => {
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
    const commands = pathToFileURL(join(folder, 'model-commands.js')).href;
    const { checkCampaignModel } = (await import(commands)) as Commands;
    await t.rejects(checkCampaignModel(t, { numRuns: 30, seed, length: 80 }), /Property failed/);
  });
}
