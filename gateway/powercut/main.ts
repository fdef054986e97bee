/**
 * `npm run test:powercut [CUTS]`: cuts the power of a machine that runs the gateway at 50 moments, each time dropping what was not synced,
 * then shows with a gateway that does not sync that a loss would have been found. HOLDFAST_FAULTS_SEED repeats a run's choices.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import { buildGuest, requireTools } from './guest-images.js';
import { runPowerCuts } from './power-cuts.js';

requireTools();
const cuts = Number(process.argv[2] ?? 50);
const { seed, random } = faultPlan();
const say = (line: string): void => console.log(line);
const folder = await mkdtemp(join(tmpdir(), 'holdfast-powercut-'));
try {
  const images = buildGuest(folder);
  const base = { images, random, say };
  say(`the gateway, ${cuts} cuts, seed ${seed}`);
  const kept = await runPowerCuts({
    ...base,
    folder: join(folder, 'kept'),
    program: 'bin/holdfast-gateway.js',
    cuts,
  });
  say('a gateway that does not sync, until something is lost');
  const control = await runPowerCuts({
    ...base,
    folder: join(folder, 'control'),
    program: 'dist/powercut/unsynced-gateway.js',
    cuts: 20,
    untilLost: true,
  });
  say(
    `${kept.cuts} cuts in ${kept.lives} lives, ${kept.dropped} pieces dropped, ${kept.acknowledgements} acknowledged, ${kept.lost.length} lost; without syncing ${control.lost.length} lost after ${control.cuts}`,
  );
  if (kept.cuts !== cuts || kept.lost.length > 0) process.exitCode = 1;
  if (control.lost.length === 0) {
    say('the rig cannot see a loss');
    process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true });
}
