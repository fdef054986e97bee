/** What can happen in the model of campaigns, and one run of it. */
import fc from 'fast-check';
import type { Test } from 'tap';
import type { Fate } from './model-device.js';
import { devicesPerSite } from './model-site.js';
import { ModelWorld, siteCount } from './model-world.js';

type Command =
  | {
      readonly type: 'step' | 'repeat' | 'leave' | 'come';
      readonly site: number;
      readonly device: number;
    }
  | { readonly type: 'fate'; readonly site: number; readonly device: number; readonly fate: Fate }
  | { readonly type: 'pass'; readonly ms: number }
  | {
      readonly type:
        | 'outage'
        | 'contact'
        | 'stop here'
        | 'lift here'
        | 'pause here'
        | 'resume here';
      readonly site: number;
    }
  | {
      readonly type: 'crash';
      readonly site: number;
      readonly at: number;
      readonly when: 'before' | 'after';
    }
  | {
      readonly type:
        | 'pause'
        | 'resume'
        | 'cancel'
        | 'release'
        | 'stop'
        | 'lift'
        | 'add update'
        | 'add job';
    }
  | { readonly type: 'busy'; readonly site: number };

const site = fc.nat(siteCount - 1);
const device = fc.nat(devicesPerSite - 1);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ type: fc.constant('busy' as const), site }) },
  { weight: 16, arbitrary: fc.record({ type: fc.constant('step' as const), site, device }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constantFrom('repeat', 'leave', 'come', 'come'),
      site,
      device,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('fate' as const),
      site,
      device,
      fate: fc.constantFrom<Fate>('good', 'good', 'taken back', 'broken', 'silent'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('pass' as const),
      ms: fc.constantFrom(1_000, 11_000, 61_000, 700_000, 4_000_000, 80 * 3_600_000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom(
        'outage',
        'contact',
        'contact',
        'stop here',
        'lift here',
        'lift here',
        'pause here',
        'resume here',
        'resume here',
      ),
      site,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('crash' as const),
      site,
      at: fc.integer({ min: 1, max: 6 }),
      when: fc.constantFrom('before' as const, 'after' as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constantFrom(
        'pause',
        'resume',
        'resume',
        'release',
        'stop',
        'lift',
        'lift',
        'add update',
        'add job',
        'cancel',
      ),
    }),
  },
);

const perform = async (world: ModelWorld, command: Command): Promise<void> => {
  const at = 'site' in command ? world.sites[command.site] : undefined;
  if (at !== undefined) {
    const one = 'device' in command ? at.devices[command.device] : undefined;
    switch (command.type) {
      case 'step':
        return at.act(async (life) => one?.step(life));
      case 'busy':
        for (const each of at.devices) await at.act((life) => each.step(life));
        return;
      case 'repeat':
        // What was said to a gateway that has started anew since is not said again.
        return at.act(async () => one?.repeat().catch(() => undefined));
      case 'leave':
        return at.act(async (life) => (one?.isOnline === true ? one.disconnect(life) : undefined));
      case 'come':
        return at.act(async (life) => (one?.isOnline === false ? one.connect(life) : undefined));
      case 'fate':
        if (one !== undefined) one.fate = command.fate;
        return;
      case 'outage':
        at.isConnected = false;
        return;
      case 'contact':
        at.isConnected = true;
        at.heardAt = at.site.clock.now();
        return world.hear(at);
      case 'crash':
        at.life.cutAt(command.at, command.when);
        return;
      case 'stop here':
        return at.act(({ updates }) => updates.controls.stopAll('ann', 'smoke'));
      case 'lift here':
        return at.act(({ updates }) => updates.controls.liftStop('ann', 'no smoke'));
      case 'pause here':
        return at.act(({ updates }) => updates.controls.pause('first', 'ann', 'looks odd'));
      case 'resume here':
        at.noteResume('first');
        return at.act(({ updates }) => updates.controls.resume('first', 'ann'));
      default:
        return;
    }
  }
  switch (command.type) {
    case 'pass':
      return world.pass(command.ms);
    case 'pause':
      return world.alter('first', () => ({ state: 'paused' }));
    case 'resume':
      return world.alter('first', ({ resumes }) => ({ state: 'running', resumes: resumes + 1 }));
    case 'cancel':
      return world.alter('first', () => ({ state: 'cancelling' }));
    case 'release':
      return world.release();
    case 'stop':
      return world.change((fleet) => {
        fleet.stop = { at: 1, by: 'cloud:eve', reason: 'recall' };
      });
    case 'lift':
      return world.change((fleet) => {
        fleet.stop = undefined;
      });
    case 'add update':
      return world.add('second');
    case 'add job':
      return world.add('job');
    default:
      return;
  }
};

export interface ModelRuns {
  readonly numRuns: number;
  readonly seed: number;
  /** Commands of one run at most. */
  readonly length: number;
}

/** Throws with the commands that break a law. */
export const checkCampaignModel = async (
  t: Test,
  { numRuns, seed, length }: ModelRuns,
): Promise<void> => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { minLength: length / 2, maxLength: length }),
      async (commands) => {
        const world = await ModelWorld.open(t);
        try {
          for (const each of commands) {
            await perform(world, each);
            await world.check();
          }
          await world.end();
        } finally {
          await world.close();
        }
      },
    ),
    { numRuns, seed, endOnFailure: true, includeErrorInReport: true },
  );
};
