import {
  type ExecutionStatus,
  executionStatuses,
  isTerminal,
} from '@holdfast/protos/link/execution-status';
import fc from 'fast-check';
import t from 'tap';
import { isUnderWay, next } from './execution.js';
import {
  type Execution,
  type ExecutionEvent,
  type ExecutionPolicy,
  newExecution,
  type ReportedStatus,
} from './execution-state.js';

const policy: ExecutionPolicy = {
  isJob: false,
  retries: 1,
  siteRetries: 2,
  retryAfterMs: { first: 10, most: 15 },
  offerTimeoutMs: 1_000,
  downloadTimeoutMs: 2_000,
  installTimeoutMs: 3_000,
  confirmTimeoutMs: 4_000,
  settleMs: 100,
  cancelTimeoutMs: 500,
};
const now = 100_000;

const queued = newExecution('2');
const offered: Execution = {
  ...queued,
  status: 'offered',
  furthest: 'offered',
  door: 'native',
  attempt: 1,
  fromVersion: '1',
  bootBefore: 'b1',
  deadline: now + 1_000,
};
const at = (status: ExecutionStatus, changes: Partial<Execution> = {}): Execution => ({
  ...(status === 'queued' ? queued : offered),
  status,
  furthest: isTerminal(status) || status === 'cancelling' ? 'downloading' : status,
  ...(isTerminal(status) ? { deadline: null } : {}),
  ...changes,
});
const older = (status: ExecutionStatus, changes: Partial<Execution> = {}): Execution =>
  at(status, { door: 'devices', bootBefore: 's1', ...changes });

const reported = (
  status: ReportedStatus,
  extra: { boot?: string; version?: string; error?: string; progress?: number } = {},
): ExecutionEvent => ({ type: 'reported', door: 'native', status, ...extra });

const events = {
  offer: { type: 'offer', door: 'native', boot: 'b1', version: '1' },
  'says offered': reported('offered', { boot: 'b1' }),
  'says downloading': reported('downloading', { boot: 'b1' }),
  'says verifying': reported('verifying', { boot: 'b1' }),
  'says installing': reported('installing', { boot: 'b1' }),
  'says in progress': reported('in_progress', { boot: 'b1' }),
  'says rebooting': reported('rebooting', { boot: 'b1' }),
  'says confirming': reported('confirming', { boot: 'b2', version: '2' }),
  proves: reported('succeeded', { boot: 'b2', version: '2' }),
  'claims in the old run': reported('succeeded', { boot: 'b1', version: '2' }),
  'claims another version': reported('succeeded', { boot: 'b2', version: '3' }),
  'says failed': reported('failed', { error: 'no space' }),
  'says rolled back': reported('rolled_back', { error: 'it crashed' }),
  'says cancelled': reported('cancelled'),
  'ticked in time': { type: 'ticked' },
  'ticked too late': { type: 'ticked' },
  'resumed too late': { type: 'resumed' },
  'site failed': { type: 'site_failed', error: 'the disk is full' },
  cancel: { type: 'cancel' },
  supersede: { type: 'supersede' },
  'withdraw offers': { type: 'withdraw', from: 'offers', reason: 'it is paused' },
  'withdraw downloads': { type: 'withdraw', from: 'downloads', reason: 'updates are stopped' },
  refuse: { type: 'refuse', error: 'FIRMWARE_WRONG_HARDWARE' },
  'heard at another door': { type: 'heard', door: 'aws' },
} as const satisfies Record<string, ExecutionEvent>;
type EventName = keyof typeof events;

/** What a status becomes; `.` stays, `!` is refused, a name with `!` is both. */
const table: Record<EventName, Partial<Record<ExecutionStatus, string>>> = {
  offer: { queued: 'offered' },
  'says offered': { queued: '!', cancelling: 'cancelled!' },
  'says downloading': {
    queued: '!',
    offered: 'downloading',
    verifying: 'downloading',
    installing: 'downloading',
    in_progress: 'downloading',
    rebooting: 'downloading',
    confirming: 'downloading',
    cancelling: 'cancelled!',
  },
  'says verifying': {
    queued: '!',
    offered: 'verifying',
    downloading: 'verifying',
    installing: 'verifying',
    in_progress: 'verifying',
    rebooting: 'verifying',
    confirming: 'verifying',
    cancelling: 'cancelled!',
  },
  'says installing': {
    queued: '!',
    offered: 'installing',
    downloading: 'installing',
    verifying: 'installing',
    in_progress: 'installing',
    rebooting: 'installing',
    confirming: 'installing',
    cancelling: 'cancelled!',
  },
  'says in progress': {
    queued: '!',
    offered: 'in_progress',
    downloading: 'in_progress',
    verifying: 'in_progress',
    installing: 'in_progress',
    rebooting: 'in_progress',
    confirming: 'in_progress',
    cancelling: 'cancelled!',
  },
  'says rebooting': {
    queued: '!',
    offered: 'rebooting',
    downloading: 'rebooting',
    verifying: 'rebooting',
    installing: 'rebooting',
    in_progress: 'rebooting',
    confirming: 'rebooting',
  },
  'says confirming': {
    queued: '!',
    offered: 'confirming',
    downloading: 'confirming',
    verifying: 'confirming',
    installing: 'confirming',
    in_progress: 'confirming',
    rebooting: 'confirming',
  },
  proves: {
    queued: '!',
    offered: 'succeeded',
    downloading: 'succeeded',
    verifying: 'succeeded',
    installing: 'succeeded',
    in_progress: 'succeeded',
    rebooting: 'succeeded',
    confirming: 'succeeded',
    cancelling: 'succeeded',
  },
  'claims in the old run': {
    queued: '!',
    offered: 'confirming',
    downloading: 'confirming',
    verifying: 'confirming',
    installing: 'confirming',
    in_progress: 'confirming',
    rebooting: 'confirming',
  },
  'claims another version': {
    queued: '!',
    offered: 'queued',
    downloading: 'queued',
    verifying: 'queued',
    installing: 'queued',
    in_progress: 'queued',
    rebooting: 'queued',
    confirming: 'queued',
    cancelling: 'queued',
  },
  'says failed': {
    queued: '!',
    offered: 'queued',
    downloading: 'queued',
    verifying: 'queued',
    installing: 'queued',
    in_progress: 'queued',
    rebooting: 'queued',
    confirming: 'queued',
    cancelling: 'cancelled',
  },
  'says rolled back': {
    queued: '!',
    offered: 'rolled_back',
    downloading: 'rolled_back',
    verifying: 'rolled_back',
    installing: 'rolled_back',
    in_progress: 'rolled_back',
    rebooting: 'rolled_back',
    confirming: 'rolled_back',
    cancelling: 'rolled_back',
  },
  'says cancelled': {
    queued: '!',
    offered: 'queued',
    downloading: 'queued',
    verifying: 'queued',
    installing: 'queued',
    in_progress: 'queued',
    rebooting: 'queued',
    confirming: 'queued',
    cancelling: 'cancelled',
  },
  'ticked in time': {},
  'ticked too late': {
    offered: 'queued',
    downloading: 'queued',
    verifying: 'queued',
    installing: 'queued',
    in_progress: 'queued',
    rebooting: 'queued',
    confirming: 'queued',
    cancelling: 'cancelled',
  },
  'resumed too late': {},
  'site failed': { offered: 'queued', downloading: 'queued' },
  cancel: {
    queued: 'cancelled',
    offered: 'cancelled',
    downloading: 'cancelling',
    verifying: 'cancelling',
    installing: 'cancelling',
    in_progress: 'cancelling',
  },
  supersede: { queued: 'superseded', offered: 'superseded' },
  'withdraw offers': { offered: 'queued' },
  'withdraw downloads': { offered: 'queued', downloading: 'queued', verifying: 'queued' },
  refuse: { queued: 'failed', offered: 'failed' },
  'heard at another door': {},
};

/** Reports to an execution that is over: only its own outcome is taken again. */
const repeats: Partial<Record<EventName, readonly ExecutionStatus[]>> = {
  proves: ['succeeded', 'unproven'],
  'claims in the old run': ['succeeded', 'unproven'],
  'claims another version': ['succeeded', 'unproven'],
  'says failed': ['failed'],
  'says rolled back': ['rolled_back'],
  'says cancelled': ['cancelled', 'superseded'],
};

t.test('every status takes every event as the table says', async (t) => {
  for (const status of executionStatuses) {
    for (const name of Object.keys(events) as EventName[]) {
      const before = at(status);
      const event: ExecutionEvent = events[name];
      const decision = next(before, event, policy, name.endsWith('too late') ? now + 9_000 : now);
      const isRefusedAtEnd =
        isTerminal(status) && event.type === 'reported' && !repeats[name]?.includes(status);
      const expected = isTerminal(status)
        ? isRefusedAtEnd
          ? '!'
          : '.'
        : (table[name][status] ?? '.');
      const becomes = expected.replace(/[.!]/g, '') || status;
      t.equal(decision.state.status, becomes, `${status}, ${name}`);
      t.equal(
        decision.refused !== undefined,
        expected.includes('!'),
        `${status}, ${name}: refusal`,
      );
      if (decision.state === before) t.same(decision.effects, [], `${status}, ${name}: no effects`);
      else t.equal(decision.state.version, before.version + 1, `${status}, ${name}: version`);
    }
  }
});

t.test('an update that goes well runs through and needs proof of boot', async (t) => {
  let state: Execution = queued;
  const seen: string[] = [];
  for (const name of [
    'offer',
    'says downloading',
    'says verifying',
    'says installing',
    'says rebooting',
    'says confirming',
    'proves',
  ] as const) {
    state = next(state, events[name], policy, now).state;
    seen.push(state.status);
  }
  t.same(seen, [
    'offered',
    'downloading',
    'verifying',
    'installing',
    'rebooting',
    'confirming',
    'succeeded',
  ]);
  t.equal(state.deadline, null);
});

t.test('each stage has its own time, and going back buys none', async (t) => {
  const downloading = next(offered, events['says downloading'], policy, now).state;
  t.equal(downloading.deadline, now + 2_000);
  const verifying = next(downloading, events['says verifying'], policy, now + 500).state;
  t.equal(verifying.deadline, now + 2_000, 'downloading and verifying share one limit');
  const installing = next(verifying, events['says installing'], policy, now + 600).state;
  t.equal(installing.deadline, now + 3_600);
  const again = next(installing, events['says downloading'], policy, now + 700).state;
  t.equal(again.deadline, now + 3_600);
  t.equal(next(again, events['says installing'], policy, now + 800).state.deadline, now + 3_600);
});

t.test('attempts are counted, spaced and bounded', async (t) => {
  const failed = next(offered, events['says failed'], policy, now).state;
  t.match(failed, { status: 'queued', notBefore: now + 10, error: 'no space', attempt: 1 });
  t.equal(next(failed, events.offer, policy, now + 9).state, failed, 'not before its time');
  const second = next(failed, events.offer, policy, now + 10).state;
  t.match(second, { status: 'offered', attempt: 2, error: null });
  t.match(next(second, events['says failed'], policy, now).state, {
    status: 'failed',
    error: 'no space',
  });
});

t.test('what the site spoiled does not use up an attempt of the device', async (t) => {
  let state = offered;
  for (const times of [1, 2]) {
    const failed = next(state, events['site failed'], policy, now).state;
    t.match(failed, { status: 'queued', attempt: 0, siteFailures: times });
    state = next(failed, events.offer, policy, failed.notBefore).state;
    t.equal(state.attempt, 1);
  }
  t.match(next(state, events['site failed'], policy, now).state, { status: 'failed' });
});

t.test(
  'a stage that ran out while the gateway was away gets its time again, so many times',
  async (t) => {
    let state: Execution = at('installing');
    let time = now;
    for (const times of [1, 2]) {
      time += 10_000;
      state = next(state, { type: 'resumed' }, policy, time).state;
      t.match(state, {
        status: 'installing',
        deadline: time + 3_000,
        siteFailures: times,
        attempt: 1,
      });
    }
    t.equal(next(state, { type: 'resumed' }, policy, time + 9_000).state.status, 'queued');
    const clockSetBack = next(at('installing'), { type: 'resumed' }, policy, now - 50_000).state;
    t.equal(clockSetBack.deadline, now - 47_000, 'and never more than its time');
  },
);

t.test('what may not begin yet is held, and goes on from there in its time', async (t) => {
  const until = now + 50_000;
  const held = (
    status: 'installing' | 'rebooting',
    by: { until: number | null; reason: string } = { until, reason: 'waits for the window nights' },
  ): ExecutionEvent => ({ type: 'reported', door: 'native', status, boot: 'b1', held: by });
  const waits = {
    status: 'verifying',
    furthest: 'verifying',
    error: 'waits for the window nights',
    deadline: until + policy.downloadTimeoutMs,
  };
  for (const status of ['offered', 'downloading', 'verifying'] as const) {
    for (const name of ['installing', 'rebooting'] as const) {
      const decision = next(at(status), held(name), policy, now);
      t.match(decision, { state: waits, refused: /nights/, effects: [] }, `${status}, ${name}`);
      const again = next(decision.state, held(name), policy, now + 60);
      t.equal(again.state, decision.state, 'asked again nothing changes');
      t.ok(again.refused);
    }
  }
  const waiting = next(at('verifying'), held('installing'), policy, now).state;
  t.equal(next(waiting, { type: 'ticked' }, policy, until).state, waiting, 'it has its time');
  t.match(next(waiting, { type: 'ticked' }, policy, until + 2_000).state, { status: 'queued' });
  t.match(next(waiting, events['says installing'], policy, until).state, {
    status: 'installing',
    error: null,
    deadline: until + policy.installTimeoutMs,
  });
  for (const status of ['installing', 'rebooting', 'confirming'] as const) {
    const decision = next(at(status), held('rebooting'), policy, now);
    t.equal(decision.refused, undefined, `${status}: what is under way goes on`);
  }
  const unknown = next(
    at('verifying'),
    held('installing', { until: null, reason: 'nobody knows the time' }),
    policy,
    now,
  ).state;
  t.match(unknown, { status: 'verifying', deadline: now + 86_400_000 + policy.downloadTimeoutMs });
  t.match(next(at('queued'), held('installing'), policy, now), { refused: /not offered/ });
});

t.test('native: a claim without proof waits for it, and fails in the end', async (t) => {
  const claimed = next(at('rebooting'), events['claims in the old run'], policy, now).state;
  t.match(claimed, { status: 'confirming', claimed: true });
  t.equal(
    next(claimed, events['says rebooting'], policy, now).state,
    claimed,
    'a report does not take it back',
  );
  t.equal(next(claimed, events.proves, policy, now).state.status, 'succeeded');
  t.match(next(claimed, { type: 'ticked' }, policy, now + 9_000).state, {
    status: 'queued',
    error: 'it did not prove that it restarted',
  });
});

t.test('native: a device that names no run, or no version, ends unproven', async (t) => {
  const nameless = at('installing', { bootBefore: null });
  t.equal(next(nameless, reported('succeeded'), policy, now).state.status, 'unproven');
  t.equal(
    next(nameless, events.proves, policy, now).state.status,
    'unproven',
    'nothing to compare with',
  );
  const versionless = reported('succeeded', { boot: 'b2' });
  t.equal(next(at('installing'), versionless, policy, now).state.status, 'unproven');
});

t.test('native: the run to compare with is the last one before the restart', async (t) => {
  const restarted = next(offered, reported('downloading', { boot: 'b7' }), policy, now).state;
  t.equal(restarted.bootBefore, 'b7');
  t.not(
    next(restarted, reported('succeeded', { boot: 'b7', version: '2' }), policy, now).state.status,
    'succeeded',
  );
  t.equal(next(restarted, events.proves, policy, now).state.status, 'succeeded');
});

t.test('native: a session is no proof, only a claim with a new run is', async (t) => {
  const trying = next(at('rebooting'), events['says confirming'], policy, now).state;
  t.equal(trying.status, 'confirming');
  t.match(next(trying, { type: 'ticked' }, policy, now + 9_000).state, {
    status: 'queued',
    error: 'it restarted, but did not confirm the new version',
  });
});

const seen = (boot: string, version: string | null): ExecutionEvent => ({
  type: 'seen',
  door: 'devices',
  boot,
  version,
});

t.test('older set: a heartbeat with the version proves it in a new session alone', async (t) => {
  for (const status of [
    'offered',
    'downloading',
    'installing',
    'rebooting',
    'confirming',
  ] as const) {
    const before = older(status);
    for (const event of [seen('s1', '2'), seen('s2', null), seen('s2', '1')]) {
      const after = next(
        next(before, event, policy, now).state,
        { type: 'ticked' },
        policy,
        now + 9_000,
      );
      t.not(after.state.status, 'succeeded', `${status}, ${JSON.stringify(event)}`);
    }
    const up = next(before, seen('s2', '2'), policy, now).state;
    t.equal(up.status, status === 'offered' ? 'succeeded' : 'confirming', status);
    const settled = next(up, { type: 'ticked' }, policy, now + 100).state;
    t.equal(settled.status, 'succeeded', `${status}, settled`);
  }
});

t.test(
  'older set: a device that tells its stages may still go back after it came up',
  async (t) => {
    const up = next(older('rebooting'), seen('s2', '2'), policy, now).state;
    t.match(up, { status: 'confirming', deadline: now + 100 });
    const says = (status: ReportedStatus): ExecutionEvent => ({
      type: 'reported',
      door: 'devices',
      status,
      boot: 's2',
    });
    t.equal(next(up, says('succeeded'), policy, now).state.status, 'succeeded');
    t.equal(next(up, says('rolled_back'), policy, now).state.status, 'rolled_back');
    const trying = next(up, says('confirming'), policy, now + 50).state;
    t.equal(trying.deadline, now + 4_050, 'on trial by its own word, it has the time for that');
    const again = next(
      next(trying, says('rebooting'), policy, now + 60).state,
      says('confirming'),
      policy,
      now + 70,
    );
    t.equal(again.state.deadline, now + 4_050, 'once');
    const back = next(trying, seen('s3', '1'), policy, now + 80).state;
    t.equal(next(back, { type: 'ticked' }, policy, now + 4_050).state.status, 'rolled_back');
    const claimed = next(older('rebooting'), says('succeeded'), policy, now).state;
    t.equal(
      next(claimed, seen('s3', '2'), policy, now).state.status,
      'succeeded',
      'the claim came first',
    );
  },
);

t.test('older set: a connection that was lost is no restart', async (t) => {
  const reconnected = next(older('downloading'), seen('s2', '1'), policy, now).state;
  t.equal(reconnected.bootBefore, 's2');
  t.equal(next(reconnected, seen('s2', '2'), policy, now).state, reconnected);
  t.equal(next(reconnected, seen('s3', '2'), policy, now).state.status, 'confirming');
});

t.test(
  'older set: the old version in a new session after the restart is a roll-back when the time is over',
  async (t) => {
    let state = next(older('rebooting'), seen('s2', null), policy, now).state;
    state = next(state, seen('s2', '1'), policy, now).state;
    t.equal(state.status, 'rebooting', 'it may still come');
    t.match(next(state, { type: 'ticked' }, policy, now + 9_000).state, { status: 'rolled_back' });
    t.equal(next(state, seen('s3', '2'), policy, now).state.status, 'confirming');
  },
);

t.test('older set: a claim of a device that never told a version ends unproven', async (t) => {
  const claim: ExecutionEvent = {
    type: 'reported',
    door: 'devices',
    status: 'succeeded',
    boot: 's1',
  };
  const silent = next(older('installing', { fromVersion: null }), claim, policy, now).state;
  t.equal(silent.status, 'confirming');
  t.equal(next(silent, { type: 'ticked' }, policy, now + 9_000).state.status, 'unproven');
  const telling = next(older('installing'), claim, policy, now).state;
  t.equal(next(telling, { type: 'ticked' }, policy, now + 9_000).state.status, 'queued');
});

t.test('serial: a cancelled offer is withdrawn, and a refusal stops the device', async (t) => {
  const serial = (status: ExecutionStatus) => at(status, { door: 'serial' });
  t.match(next(serial('offered'), { type: 'cancel' }, policy, now).state, { status: 'cancelled' });
  const says: ExecutionEvent = { type: 'reported', door: 'serial', status: 'downloading' };
  t.match(next(serial('cancelling'), says, policy, now), {
    state: { status: 'cancelled' },
    refused: 'it is being cancelled',
  });
});

t.test('older set: a command cannot be called back, so its cancellation waits', async (t) => {
  const cancelling = next(older('offered'), { type: 'cancel' }, policy, now).state;
  t.match(cancelling, { status: 'cancelling', deadline: now + 500 });
  t.equal(
    next(cancelling, seen('s2', '2'), policy, now).state.status,
    'succeeded',
    'it went through',
  );
});

t.test(
  'an offer on the job topics goes to the older set when the device turns out to speak it',
  async (t) => {
    const switched = next(offered, seen('s1', '1'), policy, now);
    t.match(switched.state, { status: 'offered', door: 'devices', bootBefore: 's1' });
    t.same(switched.effects, ['notify']);
    t.not(next(switched.state, seen('s1', '2'), policy, now).state.status, 'succeeded');
  },
);

t.test('proof that comes after its time, while the next attempt waits, counts', async (t) => {
  const native = at('queued', { ...offered, status: 'queued', notBefore: now + 99 });
  t.equal(next(native, events.proves, policy, now).state.status, 'succeeded');
  const late = next(
    { ...native, door: 'devices', bootBefore: 's1' },
    seen('s2', '2'),
    policy,
    now,
  ).state;
  t.equal(late.status, 'succeeded');
});

t.test('a device on trial when the next attempt begins can still prove itself', async (t) => {
  const waiting = at('queued', { ...offered, status: 'queued', notBefore: 0 });
  const again = next(
    waiting,
    { type: 'offer', door: 'native', boot: 'b2', version: '2' },
    policy,
    now,
  ).state;
  t.match(again, { status: 'offered', bootBefore: 'b1', attempt: 2 });
  t.equal(next(again, events.proves, policy, now).state.status, 'succeeded');
});

t.test('a device that runs the version already is left alone', async (t) => {
  const decision = next(
    queued,
    { type: 'offer', door: 'native', boot: 'b1', version: '2' },
    policy,
    now,
  );
  t.equal(decision.state.status, 'superseded');
});

t.test('small steps of progress are not told', async (t) => {
  const half = next(
    offered,
    reported('downloading', { progress: 50, boot: 'b1' }),
    policy,
    now,
  ).state;
  t.equal(half.progress, 50);
  t.equal(
    next(half, reported('downloading', { progress: 53, boot: 'b1' }), policy, now).state,
    half,
  );
  t.equal(
    next(half, reported('downloading', { progress: 55, boot: 'b1' }), policy, now).state.progress,
    55,
  );
  t.equal(
    next(half, reported('downloading', { progress: 100, boot: 'b1' }), policy, now).state.progress,
    100,
  );
});

const door = fc.constantFrom('native', 'devices', 'serial');
const boot = fc.constantFrom('b1', 'b2', 'b3');
const version = fc.constantFrom('1', '2');
const anyEvent: fc.Arbitrary<ExecutionEvent> = fc.oneof(
  fc.record({
    type: fc.constant('offer'),
    door,
    boot: fc.option(boot),
    version: fc.option(version),
  }),
  fc.record(
    {
      type: fc.constant('reported'),
      door,
      status: fc.constantFrom<ReportedStatus>(
        'offered',
        'downloading',
        'verifying',
        'installing',
        'rebooting',
        'confirming',
        'succeeded',
        'failed',
        'rolled_back',
        'cancelled',
      ),
      progress: fc.nat(100),
      boot,
      version,
    },
    { requiredKeys: ['type', 'door', 'status'] },
  ),
  fc.record({ type: fc.constant('seen'), door, boot, version: fc.option(version) }),
  fc.constantFrom<ExecutionEvent>(
    { type: 'ticked' },
    { type: 'resumed' },
    { type: 'site_failed', error: 'x' },
    { type: 'cancel' },
    { type: 'supersede' },
  ),
) as fc.Arbitrary<ExecutionEvent>;
const steps = fc.array(fc.tuple(anyEvent, fc.nat(3_000)), { maxLength: 60 });

t.test('nothing leads out of an end, attempts are bounded, time runs out everywhere', async (t) => {
  let ended = 0;
  fc.assert(
    fc.property(steps, (sequence) => {
      let state = queued;
      let time = now;
      for (const [event, ms] of sequence) {
        time += ms;
        const before = state;
        const decision = next(state, event, policy, time);
        state = decision.state;
        if (isTerminal(before.status) && state !== before) return false;
        if (state.attempt < 0 || state.attempt > policy.retries + 1) return false;
        if (state.siteFailures > policy.siteRetries) return false;
        if (isUnderWay(state.status) !== (state.deadline !== null)) return false;
        if (
          state.status !== before.status &&
          decision.effects.length === 0 &&
          isTerminal(state.status)
        )
          return false;
        if (state.status === 'succeeded' && before.status !== 'succeeded') {
          ended += 1;
          const wasUp = before.seen?.version === '2' && before.seen.boot !== before.bootBefore;
          const isUp = 'boot' in event && event.version === '2' && event.boot !== before.bootBefore;
          if (before.bootBefore === null || !(wasUp || isUp)) return false;
        }
      }
      return true;
    }),
    { numRuns: 5_000 },
  );
  t.ok(ended > 50, `the property saw ${ended} successes`);
});

t.test('left alone, an execution comes to its end or back into the queue', async (t) => {
  fc.assert(
    fc.property(steps, (sequence) => {
      let state = queued;
      let time = now;
      for (const [event, ms] of sequence) {
        time += ms;
        state = next(state, event, policy, time).state;
      }
      for (let i = 0; i < 3 && isUnderWay(state.status); i += 1) {
        time = state.deadline ?? time;
        state = next(state, { type: 'ticked' }, policy, time).state;
      }
      return !isUnderWay(state.status);
    }),
  );
  t.pass();
});

t.test('a command of the older set that is out keeps its device from another image', async (t) => {
  const given = { ...offered, door: 'devices' as const };
  const { state } = next(given, { type: 'supersede' }, policy, now);
  t.equal(state.status, 'cancelling');
});

t.test('what a device says by ever new names does not grow without end', async (t) => {
  let state = offered;
  for (let i = 0; i < 200; i += 1) {
    const details = { [`name${i}`]: 'x' };
    ({ state } = next(
      state,
      { type: 'reported', door: 'native', status: 'downloading', progress: (i * 7) % 100, details },
      policy,
      now,
    ));
  }
  const names = Object.keys(state.details ?? {});
  t.ok(names.length <= 50, `${names.length}`);
  t.ok(names.includes('name199') && names.includes('name198') && !names.includes('name0'));
});
