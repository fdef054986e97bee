import { type CampaignPhase, onePhase } from '@holdfast/protos/link/campaign-document';
import t, { type Test } from 'tap';
import { CampaignGates, type CampaignGatesDeps } from './campaign-gates.js';
import { CampaignRun } from './campaign-run.js';
import { EmergencyStops, type EmergencyStopsDeps } from './emergency-stop.js';
import type { FirmwareRefusal } from './firmware-releases.js';
import {
  campaignBody,
  everythingTrusted,
  firmwareBody,
  type Life,
  openTestSite,
} from './updates-fixture.js';

const phases: CampaignPhase[] = [
  { ...onePhase, percent: 50, duration_ms: 60_000, success_percent: 100, error_percent: 50 },
  { ...onePhase, approval: true, released: false },
];
const policy = { ...campaignBody().policy, site_concurrency: 10, retries: 0 };

const begin = async (t: Test, options: Parameters<typeof openTestSite>[1] = {}, devices = 8) => {
  const site = await openTestSite(t, options);
  site.firmware.come(firmwareBody());
  const ids = Array.from({ length: devices }, (_, i) => `d${i}`);
  const start = async (): Promise<Life> => {
    const life = await site.start();
    for (const id of ids) life.devices.connected(id, `${id}-s`, { model: 'pi', boot: `${id}-1` });
    await life.updates.settled();
    return life;
  };
  const inPhase = (life: Life, phase: number) =>
    ids.filter((id) => life.updates.controls.phaseOf('c', id) === phase);
  /** What the journal says of campaigns, besides executions. */
  const told = async () =>
    (await site.journal()).filter(({ kind }) =>
      /campaign_(phase|paused|resumed|waits)/.test(`${kind}`),
    );
  return { ...site, ids, start, inPhase, told };
};

const succeed = async ({ updates }: Life, device: string) => {
  await updates.updated(device, 'c', { status: 'downloading', boot_id: `${device}-1` });
  await updates.updated(device, 'c', { status: 'succeeded', boot_id: `${device}-2`, version: '2' });
};

t.test(
  'goes on to a phase when time, success and approval allow, and says what it waits for',
  async (t) => {
    const site = await begin(t);
    site.plan.set({ c: campaignBody({ phases, policy }) });
    const life = await site.start();
    const { controls } = life.updates;
    const [first, second] = [site.inPhase(life, 0), site.inPhase(life, 1)];
    t.ok(first.length > 0 && second.length > 0, 'the hash gives both phases some');
    const offered = async () =>
      Object.entries(await site.statuses())
        .filter(([, status]) => status === 'offered')
        .map(([device]) => device);
    t.same(await offered(), first);
    t.match(controls.standing('c')?.waits, { code: 'duration' });
    t.match(controls.whyWaits('c', second[0] ?? ''), /time of phase 2/);
    site.clock.advance(60_000);
    await life.updates.settled();
    t.match(controls.standing('c')?.waits, { code: 'success', reason: /100 % success in phase 1/ });
    for (const device of first) await succeed(life, device);
    await life.updates.settled();
    t.match(controls.standing('c'), { phase: 0, waits: { code: 'approval' } });
    t.same(await offered(), []);
    t.match((await site.told()).at(-1), { kind: 'campaign_waits', code: 'approval' });
    site.plan.set({
      c: campaignBody({ phases: phases.map((one) => ({ ...one, released: true })), policy }),
    });
    await life.updates.settled();
    t.same(await offered(), second);
    t.match(await site.told(), [
      { kind: 'campaign_phase', phase: 0 },
      { kind: 'campaign_waits', code: 'success' },
      { kind: 'campaign_waits', code: 'approval' },
      { kind: 'campaign_phase', phase: 1, counts: { succeeded: first.length } },
      { kind: 'campaign_waits', code: null },
    ]);
  },
);

t.test('too many errors pause it here, through a restart, until a person resumes it', async (t) => {
  const site = await begin(t);
  const body = campaignBody({ phases, policy: { ...policy, site_concurrency: 2 } });
  site.plan.set({ c: body });
  let life = await site.start();
  const failing = Object.entries(await site.statuses()).find(([, s]) => s === 'offered')?.[0] ?? '';
  await life.updates.updated(failing, 'c', { status: 'failed', error: 'no space' });
  await life.updates.settled();
  const after = await site.statuses();
  t.notOk(Object.values(after).includes('offered'), 'what was offered and not begun is taken back');
  await life.close();
  life = await site.start();
  t.match(life.updates.controls.standing('c'), {
    paused: { by: 'site', reason: /1 of 1 failed in phase 1/ },
    waits: { code: 'paused' },
  });
  await life.updates.controls.resume('c', 'site:ann');
  t.ok(Object.values(await site.statuses()).includes('offered'));
  t.match((await site.told()).slice(1, 3), [
    { kind: 'campaign_paused', by: 'site' },
    { kind: 'campaign_resumed', by: 'site:ann' },
  ]);
  const attempts = await site.store.read.all<{ attempt: number; offers: number }>(
    "SELECT attempt, offers FROM executions WHERE status = 'offered'",
  );
  t.same(
    attempts.map(({ attempt }) => attempt).filter((attempt) => attempt !== 1),
    [],
  );
  t.ok(
    attempts.some(({ offers }) => offers === 2),
    'and no retry was charged for it',
  );
});

t.test(
  'the fleet resumes what the site paused by itself, and not what a person paused',
  async (t) => {
    const site = await begin(t);
    site.plan.set({ c: campaignBody({ phases, policy }) });
    const life = await site.start();
    await life.updates.controls.pause('c', 'site:ann', 'the hall is full of people');
    site.plan.set({ c: campaignBody({ phases, policy, resumes: 1 }) });
    await life.updates.settled();
    t.match(life.updates.controls.standing('c')?.paused, { by: 'site:ann' });
    await life.updates.controls.resume('c', 'site:ann');
    const [one = ''] = site.inPhase(life, 0);
    await life.updates.updated(one, 'c', { status: 'failed' });
    await life.updates.settled();
    t.match(life.updates.controls.standing('c')?.paused, { by: 'site' });
    site.plan.set({ c: campaignBody({ phases, policy, resumes: 2 }) });
    await life.updates.settled();
    t.equal(life.updates.controls.standing('c')?.paused, null);
  },
);

t.test(
  'a stop of everything holds offline and through a restart, until it is lifted',
  async (t) => {
    const site = await begin(t, {}, 3);
    site.plan.set({ c: campaignBody({ policy }) });
    let life = await site.start();
    const say = (device: string, status: 'downloading' | 'installing') =>
      life.updates.updated(device, 'c', { status, boot_id: `${device}-1` });
    await say('d0', 'downloading');
    await say('d1', 'installing');
    await life.updates.controls.stopAll('site:ann', 'smoke');
    t.same(await site.statuses(), { d0: 'queued', d1: 'installing', d2: 'queued' });
    const mayLoad = () =>
      site.ids.map((device) => life.updates.mayLoad(device, firmwareBody().sha256));
    t.same(mayLoad(), [false, true, false], 'an address that was told is good for nothing');
    t.match(await say('d0', 'installing'), { accepted: false, code: 409 });
    await life.close();
    life = await site.start();
    t.same(await site.statuses(), { d0: 'queued', d1: 'installing', d2: 'queued' });
    t.match(life.updates.controls.emergencyStops(), [
      { of: 'site', by: 'site:ann', reason: 'smoke' },
    ]);
    t.match(life.updates.controls.whyWaits('c', 'd0'), /site:ann stopped all updates at this site/);
    await life.updates.controls.liftStop('site:bob', 'only toast');
    t.same(await site.statuses(), { d0: 'offered', d1: 'installing', d2: 'offered' });
    t.same(mayLoad(), [true, true, true]);
    const rows = await site.store.read.all<{ body: string }>(
      "SELECT body FROM journal_audit WHERE kind = 'emergency_stop' ORDER BY seq",
    );
    t.match(
      rows.map(({ body }) => JSON.parse(body)),
      [
        { by: 'site:ann', reason: 'smoke', lifted: false },
        { by: 'site:bob', reason: 'only toast', lifted: true },
      ],
    );
    const [first] = (await life.updates.executions('c')).map(([, execution]) => execution);
    t.match(first, { attempt: 1, offers: 2 }, 'a stop costs no attempt');
  },
);

t.test('a stop in the plan holds as well, and nobody at the site lifts it', async (t) => {
  const site = await begin(t, {}, 2);
  const stop = { at: 1, by: 'cloud:eve', reason: 'recall' };
  const body = { emergency_stop: stop };
  const policyOf = { kind: 'policy' as const, id: 'policy', body };
  site.plan.set({ c: campaignBody({ policy }) }, undefined, [policyOf]);
  const life = await site.start();
  await life.updates.controls.liftStop('site:ann', '');
  t.same(await site.statuses(), { d0: 'queued', d1: 'queued' });
  site.plan.set({ c: campaignBody({ policy }) });
  await life.updates.settled();
  t.same(await site.statuses(), { d0: 'offered', d1: 'offered' });
});

t.test('offers no new device what the control plane may have recalled meanwhile', async (t) => {
  const heard = { at: 0 };
  const site = await begin(t, { asOf: () => heard.at }, 3);
  heard.at = site.clock.now();
  site.plan.set({ c: campaignBody({ policy: { ...policy, site_concurrency: 1 } }) });
  const life = await site.start();
  const [begun = ''] = Object.entries(await site.statuses()).find(([, s]) => s === 'offered') ?? [];
  site.clock.advance(71 * 3_600_000);
  t.match(await life.updates.updated(begun, 'c', { status: 'downloading', boot_id: 'x' }), {
    accepted: true,
  });
  site.clock.advance(2 * 3_600_000);
  await life.updates.settled();
  t.equal((await site.statuses())[begun], 'failed', 'its time ran out');
  site.clock.advance(60_000);
  await life.updates.settled();
  t.notOk(Object.values(await site.statuses()).includes('offered'));
  t.match(life.updates.controls.standing('c')?.waits, { code: 'plan_age', reason: /73 h/ });
  t.match((await site.told()).at(-1), { kind: 'campaign_waits', code: 'plan_age' });
  heard.at = site.clock.now();
  await life.updates.settled();
  t.ok(Object.values(await site.statuses()).includes('offered'));
  // The clock stands still for all that anybody knows: what counts is the time that went by.
  site.clock.trusted = false;
  site.clock.advance(73 * 3_600_000);
  await life.updates.settled();
  t.match(life.updates.controls.standing('c')?.waits, { code: 'plan_age' });
});

t.test(
  'begins at its time, and takes who is there then when it takes no late joiners',
  async (t) => {
    const site = await begin(t, {}, 2);
    const started_at = site.clock.now() + 3_600_000;
    const target = { ...campaignBody().target, late_joiners: false };
    site.plan.set({ c: campaignBody({ policy, started_at, target }) });
    const life = await site.start();
    t.same(await site.statuses(), {});
    t.match(life.updates.controls.standing('c')?.waits, { code: 'start' });
    t.same(site.firmware.needed, [], 'nothing is urgent yet');
    site.clock.trusted = false;
    site.clock.advance(3_600_000);
    await life.updates.settled();
    t.same(await site.statuses(), {}, 'nobody knows the time');
    site.clock.trusted = true;
    await life.updates.settled();
    t.same(await site.statuses(), { d0: 'offered', d1: 'offered' });
    life.devices.connected('late', 's', { model: 'pi' });
    await life.updates.settled();
    t.same(Object.keys(await site.statuses()), ['d0', 'd1']);
  },
);

t.test('a stop holds what asks to install before anything is taken back', async (t) => {
  const site = await begin(t, {}, 1);
  site.plan.set({ c: campaignBody({ policy }) });
  const life = await site.start();
  const say = (status: 'downloading' | 'installing') =>
    life.updates.updated('d0', 'c', { status, boot_id: 'd0-1' });
  await say('downloading');
  const body = { emergency_stop: { at: 1, by: 'cloud:eve', reason: 'recall' } };
  site.plan.set({ c: campaignBody({ policy }) }, undefined, [
    { kind: 'policy', id: 'policy', body },
  ]);
  t.match(await say('installing'), { accepted: false });
  await life.updates.settled();
  t.same(await site.statuses(), { d0: 'queued' });
});

t.test('what is trusted no more is taken back where it was not taken up', async (t) => {
  const recall: { refusal: FirmwareRefusal | undefined } = { refusal: undefined };
  const verdicts = { ...everythingTrusted, refusal: () => recall.refusal };
  const site = await begin(t, { verdicts }, 2);
  site.plan.set({ c: campaignBody({ policy }) });
  const life = await site.start();
  await life.updates.updated('d0', 'c', { status: 'downloading', boot_id: 'd0-1' });
  recall.refusal = { code: 'FIRMWARE_TARGET_UNKNOWN', message: 'no metadata has it' };
  site.plan.set({ c: campaignBody({ policy }) });
  await life.updates.settled();
  t.same(await site.statuses(), { d0: 'downloading', d1: 'queued' });
  t.match(life.updates.controls.whyWaits('c', 'd1'), /FIRMWARE_TARGET_UNKNOWN/);
});

/** Commits that end when the test says. */
const heldCommits = () => {
  const held: (() => void)[] = [];
  return {
    commit: () => new Promise<void>((resolve) => held.push(resolve)),
    endAll: async (all: readonly Promise<unknown>[]) => {
      let isOver = false;
      const over = Promise.all(all).then(() => {
        isOver = true;
      });
      while (!isOver) {
        await new Promise((resolve) => setImmediate(resolve));
        held.shift()?.();
      }
      await over;
    },
  };
};

t.test('a pause is not lost that is made as the campaign goes on to a phase', async (t) => {
  const { commit, endAll } = heldCommits();
  const run = new CampaignRun({ id: 'c', body: campaignBody({ phases, policy }), images: [] });
  const gates = new CampaignGates({
    plan: {
      current: () => ({ head: { issued_at: 1e15 }, documents: { campaign: new Map([['c', {}]]) } }),
      state: () => 'fresh',
    },
    executions: {
      enter: async (of: CampaignRun, after: CampaignRun['phases']) => {
        await commit();
        of.phases = after;
      },
    },
    stops: { why: () => undefined },
    planAge: { ageMs: () => 0 },
    isFenced: () => false,
    clock: { now: () => 1, trusted: true },
    time: () => 1,
  } as unknown as CampaignGatesDeps);
  await endAll([gates.pause(run, 'site:ann', 'smoke'), gates.look(run)]);
  t.match(run.phases.paused, { by: 'site:ann' });
});

t.test('who stops everything while another lifts a stop has stopped it', async (t) => {
  const { commit, endAll } = heldCommits();
  const row = { stopped_by: 'site:ann', reason: '', stopped_at: 1 };
  const stops = await EmergencyStops.open({
    site: { read: { get: async () => row }, commit },
    planned: () => undefined,
    now: () => 1,
  } as unknown as EmergencyStopsDeps);
  await endAll([stops.lift('site:bob', 'over'), stops.stop('site:eve', 'smoke again')]);
  t.match(stops.states(), [{ by: 'site:eve' }]);
});
