import t from 'tap';
import { next } from './update-machine.js';
import {
  type InstalledApp,
  newUpdateState,
  type Release,
  type UpdateEvent,
  type UpdateJob,
  type UpdateState,
} from './update-state.js';

const job: UpdateJob = {
  id: 'job-2',
  campaignId: 'c-2',
  version: '2.0.0',
  model: 'pi',
  url: '/firmware/sha256/22',
  sha256: '22',
  sizeBytes: 10,
};
const otherJob: UpdateJob = { ...job, id: 'job-3', version: '3.0.0' };
const one: InstalledApp = { version: '1.0.0', sha256: '11', jobId: null };
const two: InstalledApp = { version: '2.0.0', sha256: '22', jobId: job.id };
const other: InstalledApp = { version: '9.0.0', sha256: 'found', jobId: null };
const trial = { deadlineMs: 1000, maxStarts: 3, since: null };
const release: Release = { installer: 'slots', securityCounter: 4, steps: [] };
const script: Release = {
  installer: 'script',
  securityCounter: 4,
  steps: [
    { name: 'one', file: 'one.sh', timeoutMs: 1000 },
    { name: 'undo', file: 'undo.sh', timeoutMs: 1000 },
  ],
};
const before = { active: 'a', slots: { a: one, b: null }, securityCounter: 2 } as const;
const after = { active: 'b', slots: { a: one, b: two }, securityCounter: 2 } as const;
const onTrial = { job, release, target: 'b', previous: 'a', trial } as const;
const installing = { job, release, target: 'b', steps: [], since: null } as const;
const begun = [{ name: 'one', isDone: false }] as const;
const undoing = {
  job,
  release: script,
  target: 'b',
  previous: 'a',
  outcome: 'rolled_back',
  error: 'exit 1',
  undoneIn: null,
} as const;

const states = {
  idle: { ...before, update: { phase: 'idle', last: null } },
  'idle, done before': {
    ...after,
    update: { phase: 'idle', last: { jobId: job.id, outcome: 'succeeded' } },
  },
  downloading: { ...before, update: { phase: 'downloading', job } },
  verifying: { ...before, update: { phase: 'verifying', job } },
  waiting: { ...before, update: { phase: 'waiting', job, release } },
  installing: { ...before, update: { phase: 'installing', ...installing } },
  'installing, begun': {
    ...before,
    update: { phase: 'installing', ...installing, steps: begun, since: 'boot-1' },
  },
  'installing, begun in place': {
    ...before,
    update: { phase: 'installing', ...installing, release: script, steps: begun, since: 'boot-1' },
  },
  rebooting: { ...after, update: { phase: 'rebooting', ...onTrial, starts: 1 } },
  confirming: { ...after, update: { phase: 'confirming', ...onTrial, starts: 1 } },
  'confirming in place': {
    ...after,
    update: { phase: 'confirming', ...onTrial, release: script, starts: 1 },
  },
  'confirming a copy': {
    ...after,
    update: {
      phase: 'confirming',
      ...onTrial,
      release: { ...release, installer: 'rauc' },
      starts: 3,
    },
  },
  'confirming in place, for good': {
    ...after,
    update: { phase: 'confirming', ...onTrial, release: { ...script, steps: [] }, starts: 3 },
  },
  undoing: { ...after, update: { phase: 'undoing', ...undoing } },
  'undoing, undone': { ...after, update: { phase: 'undoing', ...undoing, undoneIn: 'boot-2' } },
  'confirming, last start': { ...after, update: { phase: 'confirming', ...onTrial, starts: 3 } },
  'confirming, nothing before': {
    active: 'a',
    slots: { a: two, b: null },
    securityCounter: 2,
    update: { phase: 'confirming', ...onTrial, target: 'a', previous: null, starts: 3 },
  },
  succeeded: { ...after, update: { phase: 'settled', job, outcome: 'succeeded', error: null } },
  'rolled back': {
    ...before,
    update: { phase: 'settled', job, outcome: 'rolled_back', error: 'it crashed' },
  },
} as const satisfies Record<string, UpdateState>;
type StateName = keyof typeof states;
const stateNames = Object.keys(states) as StateName[];

/** The slot the trial of a state runs in; every state but one tries slot b. */
const trialSlot = (name: StateName) => (name === 'confirming, nothing before' ? 'a' : 'b');

const events = {
  started: () => ({ type: 'started' }),
  connected: () => ({ type: 'connected' }),
  'offered the job': () => ({ type: 'offered', job, deviceModel: 'pi' }),
  'offered another': () => ({ type: 'offered', job: otherJob, deviceModel: 'pi' }),
  'offered one for another model': () => ({ type: 'offered', job: otherJob, deviceModel: 'mcu' }),
  withdrawn: () => ({ type: 'withdrawn' }),
  downloaded: () => ({ type: 'downloaded', jobId: job.id }),
  verified: () => ({ type: 'verified', jobId: job.id, release }),
  permitted: () => ({ type: 'permitted', jobId: job.id }),
  'step begun': () => ({ type: 'stepBegun', jobId: job.id, step: 'one', bootId: 'boot-1' }),
  'step done': () => ({ type: 'stepDone', jobId: job.id, step: 'one' }),
  installed: () => ({ type: 'installed', jobId: job.id, trial }),
  failed: () => ({ type: 'failed', jobId: job.id, error: 'no space' }),
  'failed, another': () => ({ type: 'failed', jobId: otherJob.id, error: 'no space' }),
  launched: (name) => ({ type: 'launched', slot: trialSlot(name) }),
  healthy: (name) => ({ type: 'healthy', slot: trialSlot(name) }),
  exited: (name) => ({ type: 'exited', slot: trialSlot(name), error: 'exit 1' }),
  overdue: (name) => ({ type: 'overdue', slot: trialSlot(name) }),
  undone: () => ({ type: 'undone', jobId: job.id, bootId: 'boot-2', error: null }),
  'not undone': () => ({ type: 'undone', jobId: job.id, bootId: 'boot-2', error: 'exit 2' }),
  restarted: () => ({ type: 'restarted', jobId: job.id }),
  'found another': () => ({ type: 'found', slot: 'b', app: other }),
  answered: () => ({ type: 'answered', jobId: job.id }),
  refused: () => ({ type: 'refused', jobId: job.id }),
} as const satisfies Record<string, (name: StateName) => UpdateEvent>;
type EventName = keyof typeof events;
const eventNames = Object.keys(events) as EventName[];

/** Where each state goes and what is done, in one line a pair; what is not listed changes nothing and does nothing. */
const brief = (state: UpdateState): string => {
  const { update } = state;
  const detail = update.phase === 'settled' ? `:${update.outcome}` : '';
  const starts = 'starts' in update ? `#${String(update.starts)}` : '';
  const steps =
    'steps' in update
      ? update.steps.map(({ name, isDone }) => ` ${name}${isDone ? '!' : '?'}`).join('')
      : '';
  return `${update.phase}${detail}${starts}${steps}@${state.active ?? '-'}`;
};
const told = (name: StateName, event: EventName): string | undefined => {
  const { state, effects } = next(states[name], events[event](name));
  const does = effects.map((effect) => {
    switch (effect.type) {
      case 'report':
        return `report ${effect.status}`;
      case 'run':
        return `run ${effect.slot}${effect.trial === null ? '' : ' on trial'}`;
      case 'install':
        return `install ${effect.slot}`;
      case 'discard':
        return `discard ${effect.job.id}`;
      default:
        return effect.type;
    }
  });
  if (state === states[name] && does.length === 0) return undefined;
  return `${brief(state)} | ${does.join(', ')}`;
};

const begins = 'downloading@a | report downloading, download';
const supersedes = `downloading@a | discard job-2, report downloading, download`;
const wrongModel = 'settled:failed@a | discard job-3, report failed';
const fails = 'settled:failed@a | discard job-2, report failed';
const leaves = 'idle@a | discard job-2';
const succeeds = 'settled:succeeded@b | run b, discard job-2, report succeeded';
const backs = 'settled:rolled_back@a | run a, discard job-2, report rolled_back';
const backsToNothing = 'settled:rolled_back@- | stop, discard job-2, report rolled_back';
const again = 'rebooting#2@b | report rebooting, run b on trial';

const table: Record<StateName, Partial<Record<EventName, string>>> = {
  idle: {
    'found another': 'idle@b | ',
    started: 'idle@a | run a',
    connected: 'idle@a | ask',
    'offered the job': begins,
    'offered another': begins,
    'offered one for another model': wrongModel,
  },
  'idle, done before': {
    'found another': 'idle@b | ',
    started: 'idle@b | run b',
    connected: 'idle@b | ask',
    'offered the job': 'settled:succeeded@b | discard job-2, report succeeded',
    'offered another': 'downloading@b | report downloading, download',
    'offered one for another model': 'settled:failed@b | discard job-3, report failed',
  },
  downloading: {
    'found another': 'downloading@b | ',
    started: 'downloading@a | run a, report downloading, download',
    connected: 'downloading@a | report downloading',
    'offered the job': 'downloading@a | report downloading',
    'offered another': supersedes,
    'offered one for another model': `settled:failed@a | discard job-2, discard job-3, report failed`,
    withdrawn: leaves,
    refused: leaves,
    downloaded: 'verifying@a | report verifying, verify',
    failed: fails,
  },
  verifying: {
    'found another': 'verifying@b | ',
    started: 'verifying@a | run a, report verifying, verify',
    connected: 'verifying@a | report verifying',
    'offered the job': 'verifying@a | report verifying',
    'offered another': supersedes,
    'offered one for another model': `settled:failed@a | discard job-2, discard job-3, report failed`,
    withdrawn: leaves,
    refused: leaves,
    verified: 'waiting@a | request',
    failed: fails,
  },
  waiting: {
    'found another': 'waiting@b | ',
    started: 'waiting@a | run a, request',
    connected: 'waiting@a | request',
    'offered the job': 'waiting@a | request',
    'offered another': supersedes,
    'offered one for another model': `settled:failed@a | discard job-2, discard job-3, report failed`,
    withdrawn: leaves,
    refused: leaves,
    permitted: 'installing@a | install b',
  },
  installing: {
    started: 'installing@a | run a, report installing, install b',
    connected: 'installing@a | report installing',
    'offered the job': 'installing@a | report installing',
    'offered another': supersedes,
    'offered one for another model': `settled:failed@a | discard job-2, discard job-3, report failed`,
    withdrawn: leaves,
    refused: leaves,
    'step begun': 'installing one?@a | ',
    installed: 'rebooting#1@b | report rebooting, run b on trial',
    failed: fails,
  },
  'installing, begun': {
    started: 'installing one?@a | report installing, install b',
    connected: 'installing one?@a | report installing',
    'offered the job': 'installing one?@a | report installing',
    'step done': 'installing one!@a | ',
    installed: 'rebooting#1@b | report rebooting, run b on trial',
    failed: fails,
  },
  'installing, begun in place': {
    started: 'installing one?@a | report installing, install b',
    connected: 'installing one?@a | report installing',
    'offered the job': 'installing one?@a | report installing',
    'step done': 'installing one!@a | ',
    installed: 'rebooting#1@b | report rebooting, run b on trial',
    failed: 'undoing@a | report installing, undo',
  },
  rebooting: {
    started: again,
    connected: 'rebooting#1@b | report rebooting',
    'offered the job': 'rebooting#1@b | report rebooting',
    launched: 'confirming#1@b | report confirming',
    healthy: succeeds,
    exited: again,
    overdue: backs,
  },
  confirming: {
    started: again,
    connected: 'confirming#1@b | report confirming',
    'offered the job': 'confirming#1@b | report confirming',
    launched: 'confirming#1@b | report confirming',
    healthy: succeeds,
    exited: again,
    overdue: backs,
  },
  'confirming in place': {
    started: again,
    connected: 'confirming#1@b | report confirming',
    'offered the job': 'confirming#1@b | report confirming',
    launched: 'confirming#1@b | report confirming',
    healthy: succeeds,
    exited: again,
    overdue: 'undoing@b | report confirming, undo',
  },
  'confirming a copy': {
    started: 'undoing@b | report confirming, undo',
    connected: 'confirming#3@b | report confirming',
    'offered the job': 'confirming#3@b | report confirming',
    launched: 'confirming#3@b | report confirming',
    healthy: succeeds,
    exited: 'undoing@b | report confirming, undo',
    overdue: 'undoing@b | report confirming, undo',
  },
  'confirming in place, for good': {
    started: 'settled:failed@b | discard job-2, report failed',
    connected: 'confirming#3@b | report confirming',
    'offered the job': 'confirming#3@b | report confirming',
    launched: 'confirming#3@b | report confirming',
    healthy: succeeds,
    exited: 'settled:failed@b | discard job-2, report failed',
    overdue: 'settled:failed@b | discard job-2, report failed',
  },
  undoing: {
    started: 'undoing@b | report confirming, undo',
    connected: 'undoing@b | report confirming',
    'offered the job': 'undoing@b | report confirming',
    undone: 'undoing@b | restart',
    'not undone': 'settled:failed@a | run a, discard job-2, report failed',
  },
  'undoing, undone': {
    started: 'undoing@b | report confirming, restart',
    connected: 'undoing@b | report confirming',
    'offered the job': 'undoing@b | report confirming',
    restarted: backs,
  },
  'confirming, last start': {
    started: backs,
    connected: 'confirming#3@b | report confirming',
    'offered the job': 'confirming#3@b | report confirming',
    launched: 'confirming#3@b | report confirming',
    healthy: succeeds,
    exited: backs,
    overdue: backs,
  },
  'confirming, nothing before': {
    started: backsToNothing,
    connected: 'confirming#3@a | report confirming',
    'offered the job': 'confirming#3@a | report confirming',
    launched: 'confirming#3@a | report confirming',
    healthy: 'settled:succeeded@a | run a, discard job-2, report succeeded',
    exited: backsToNothing,
    overdue: backsToNothing,
  },
  succeeded: {
    started: 'settled:succeeded@b | run b, discard job-2, report succeeded',
    connected: 'settled:succeeded@b | report succeeded',
    'offered the job': 'settled:succeeded@b | report succeeded',
    'offered another': 'downloading@b | discard job-2, report downloading, download',
    'offered one for another model': `settled:failed@b | discard job-2, discard job-3, report failed`,
    withdrawn: 'idle@b | ',
    answered: 'idle@b | ask',
    refused: 'idle@b | ask',
  },
  'rolled back': {
    started: 'settled:rolled_back@a | run a, discard job-2, report rolled_back',
    connected: 'settled:rolled_back@a | report rolled_back',
    'offered the job': 'settled:rolled_back@a | report rolled_back',
    'offered another': supersedes,
    'offered one for another model': `settled:failed@a | discard job-2, discard job-3, report failed`,
    withdrawn: 'idle@a | ',
    answered: 'idle@a | ask',
    refused: 'idle@a | ask',
  },
};

t.test('every state answers every event as the table says', async (t) => {
  for (const name of stateNames) {
    const actual = Object.fromEntries(
      eventNames.map((event) => [event, told(name, event)]).filter(([, line]) => line),
    );
    t.strictSame(actual, table[name], name);
  }
});

t.test('no decision ever writes into the slot that runs', async (t) => {
  for (const name of stateNames) {
    for (const event of eventNames) {
      const { state, effects } = next(states[name], events[event](name));
      for (const effect of effects) {
        if (effect.type === 'install') t.not(effect.slot, state.active, `${name}, ${event}`);
      }
    }
  }
});

t.test('the pointer never names an empty slot', async (t) => {
  for (const name of stateNames) {
    for (const event of eventNames) {
      const { state } = next(states[name], events[event](name));
      if (state.active !== null) t.ok(state.slots[state.active], `${name}, ${event}`);
    }
  }
});

t.test('a start after any decision performs again whatever the decision asked for', async (t) => {
  for (const name of stateNames) {
    for (const event of eventNames) {
      const decided = next(states[name], events[event](name));
      const resumed = next(decided.state, { type: 'started' }).effects.map(({ type }) => type);
      for (const { type } of decided.effects) {
        // `ask` follows with the session; what a discard leaves is swept when the next download begins.
        if (type === 'ask' || type === 'discard') continue;
        if (type === 'stop' || event === 'started') continue;
        t.ok(resumed.includes(type), `${name}, ${event}: ${type}`);
      }
    }
  }
});

t.test('the security counter rises with what has proved itself, and never falls', async (t) => {
  for (const name of stateNames) {
    for (const event of eventNames) {
      const { state } = next(states[name], events[event](name));
      const { phase } = states[name].update;
      const hasProved = event === 'healthy' && (phase === 'rebooting' || phase === 'confirming');
      t.equal(state.securityCounter, hasProved ? 4 : 2, `${name}, ${event}`);
    }
  }
  const higher = { ...states.confirming, securityCounter: 7 };
  t.equal(next(higher, { type: 'healthy', slot: 'b' }).state.securityCounter, 7);
});

t.test('a first device with nothing installed tries slot a', async (t) => {
  let state = newUpdateState();
  for (const event of [
    { type: 'offered', job, deviceModel: 'pi' },
    { type: 'downloaded', jobId: job.id },
    { type: 'verified', jobId: job.id, release },
    { type: 'permitted', jobId: job.id },
    { type: 'installed', jobId: job.id, trial },
    { type: 'launched', slot: 'a' },
    { type: 'healthy', slot: 'a' },
    { type: 'answered', jobId: job.id },
  ] as const satisfies UpdateEvent[]) {
    state = next(state, event).state;
  }
  t.match(state, { active: 'a', slots: { a: { version: '2.0.0' }, b: null } });
  t.same(state.update, { phase: 'idle', last: { jobId: job.id, outcome: 'succeeded' } });
});
