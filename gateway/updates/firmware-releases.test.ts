import type { CampaignBody, FirmwareBody, PolicyBody } from '@holdfast/protos/link/plan-documents';
import { canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import t, { type Test } from 'tap';
import { newDevice } from '../devices/device.js';
import { FirmwareReleases } from './firmware-releases.js';
import { campaignBody, openTestSite } from './updates-fixture.js';

const image = (text: string) => Buffer.from(text);

/** A site whose plan names signed firmware. */
const begin = async (t: Test, { lastsMs }: { readonly lastsMs?: number } = {}) => {
  const site = await openTestSite(t, { verdicts: (deps) => FirmwareReleases.open(deps) });
  const releases = new TestReleases(
    lastsMs === undefined ? {} : { expiresAt: site.clock.now() + lastsMs },
  );
  const open = () =>
    FirmwareReleases.open({
      site: { read: site.store.read, commit: (write) => site.store.commits.commit(write) },
      clock: site.clock,
    });
  const tell = (
    firmware: readonly { id: string; body: FirmwareBody }[],
    campaign: Partial<CampaignBody> = {},
    id = 'c',
    policy?: PolicyBody,
  ) => {
    const documents = [
      ...releases.documents(),
      ...(policy === undefined ? [] : [{ kind: 'policy', id: 'policy', body: policy } as const]),
    ];
    site.plan.set(
      { [id]: campaignBody({ firmware: firmware.map((one) => one.id), ...campaign }) },
      firmware.map(({ body }) => body),
      documents,
      documents.map(({ kind, id: document, body }) => ({
        ...{ kind, id: document, revision: 1 },
        sha256: canonicalSha256({ kind, id: document, revision: 1, body }),
      })),
    );
    return must(site.plan.current());
  };
  return { releases, site, open, tell };
};

const must = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('there is none');
  return value;
};

t.test('offers what is signed, and says by name what is not', async (t) => {
  const { releases, site, tell } = await begin(t);
  const good = releases.add({ model: 'pi', version: '2', image: image('good') });
  const swapped = { ...good.body, sha256: 'ab'.repeat(32) };
  site.firmware.come(good.body);
  tell([{ id: good.id, body: swapped }]);
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi', firmwareVersion: '1' });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'queued' });
  t.match(life.updates.controls.standing('c')?.waits, { code: 'FIRMWARE_MIX_AND_MATCH' });
  t.same(site.firmware.needed, [], 'nor is it fetched');
  const refused = async () =>
    (
      await site.store.read.all<{ body: string }>(
        "SELECT body FROM journal_audit WHERE kind = 'firmware_refused'",
      )
    ).map(({ body }) => JSON.parse(body));
  t.match(await refused(), [{ firmware: 'pi@2', code: 'FIRMWARE_MIX_AND_MATCH' }]);
  t.match((await site.journal()).filter(({ kind }) => kind === 'campaign_waits').at(-1), {
    code: 'FIRMWARE_MIX_AND_MATCH',
  });
  tell([good]);
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
  t.equal((await refused()).length, 1, 'told once');
});

t.test('goes by the policy of the plan where metadata has expired meanwhile', async (t) => {
  const hourMs = 3_600_000;
  const { releases, site, tell } = await begin(t, { lastsMs: 48 * hourMs });
  const firmware = releases.add({ model: 'pi', version: '2', image: image('good') });
  site.firmware.come(firmware.body);
  tell([firmware]);
  const life = await site.start();
  const join = async (device: string) => {
    life.devices.connected(device, 's', { model: 'pi', firmwareVersion: '1' });
    await life.updates.settled();
  };
  await join('a');
  t.same(await site.statuses(), { a: 'offered' });
  await life.updates.updated('a', 'c', { status: 'downloading' });
  site.clock.advance(49 * hourMs);
  await join('b');
  t.match(await site.statuses(), { b: 'queued' }, 'nobody begins');
  t.match(life.updates.controls.standing('c')?.waits, { code: 'FIRMWARE_METADATA_EXPIRED' });
  tell([firmware], {}, 'c', { expired_metadata_grace_ms: 2 * hourMs });
  await life.updates.settled();
  t.match(await site.statuses(), { b: 'offered' }, 'the plan may say that it counts for longer');
  site.clock.advance(2 * hourMs);
  await join('d');
  t.match(await site.statuses(), { d: 'queued' }, 'and for how long');
});

t.test('goes back to no older metadata, also after a restart', async (t) => {
  const { releases, open, tell } = await begin(t);
  const one = releases.add({ model: 'pi', version: '2', image: image('one') });
  const older = tell([one]);
  const trust = await open();
  await trust.take(older);
  t.equal(trust.refusal(one.body), undefined);
  const two = releases.add({ model: 'pi', version: '3', image: image('two') });
  await trust.take(tell([two]));
  t.equal(trust.refusal(two.body), undefined);
  const again = await open();
  await again.take(older);
  t.match(again.refusal(one.body), { code: 'FIRMWARE_ROLLBACK' });
});

t.test(
  'a device is never offered what it may not run, and its counter rises with its success',
  async (t) => {
    const { releases, site, tell } = await begin(t);
    const risen = releases.add({
      model: 'pi',
      version: '2',
      image: image('2'),
      security_counter: 5,
    });
    const low = releases.add({ model: 'pi', version: '3', image: image('3'), security_counter: 4 });
    for (const { body } of [risen, low]) site.firmware.come(body);
    tell([risen]);
    const life = await site.start();
    life.devices.connected('a', 's', { model: 'pi', firmwareVersion: '1', boot: '1' });
    await life.updates.settled();
    const say = (status: 'downloading' | 'succeeded', boot_id: string, version: string) =>
      life.updates.updated('a', 'c', { status, boot_id, version });
    await say('downloading', '1', '1');
    await say('succeeded', '2', '2');
    life.devices.learned('a', { firmwareVersion: '2' });
    t.same(await site.statuses(), { a: 'succeeded' });
    tell([low], { started_at: 2_000 }, 'd');
    await life.updates.settled();
    const [[, execution] = []] = await life.updates.executions('d');
    t.match(execution, { status: 'failed', error: /^FIRMWARE_COUNTER_TOO_LOW/, attempt: 0 });
  },
);

t.test('a counter rises also with what is recalled while it is installed', async (t) => {
  const { releases, site, tell } = await begin(t);
  const risen = releases.add({ model: 'pi', version: '2', image: image('2'), security_counter: 5 });
  site.firmware.come(risen.body);
  tell([risen]);
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi', firmwareVersion: '1', boot: '1' });
  await life.updates.settled();
  await life.updates.updated('a', 'c', { status: 'installing', boot_id: '1', version: '1' });
  // The plan goes on without the metadata that names it.
  site.plan.set({ c: campaignBody() }, [risen.body]);
  await life.updates.settled();
  await life.updates.updated('a', 'c', { status: 'succeeded', boot_id: '2', version: '2' });
  t.same(await site.statuses(), { a: 'succeeded' });
  t.same(await site.store.read.all('SELECT counter FROM security_counters'), [{ counter: 5 }]);
});

t.test('is for the hardware that the plan says a device is, or else the device', async (t) => {
  const { releases, open, tell, site } = await begin(t);
  const made = releases.add({ model: 'pi', version: '2', image: image('2'), hardware: ['b'] });
  site.firmware.come(made.body);
  const trust = await open();
  await trust.take(tell([made], { started_at: Number.MAX_SAFE_INTEGER }));
  const campaign = {
    ...{ id: 'c', body: campaignBody({ firmware: [made.id] }), images: [made.body] },
  };
  const code = (hardware: string | null, label?: string) =>
    trust.refusalFor(
      made.body,
      { ...newDevice('a', 'native', 0), model: 'pi', hardware },
      campaign,
      label === undefined ? {} : { hardware: label },
    )?.code;
  t.equal(code('b'), undefined);
  t.equal(code('c'), 'FIRMWARE_WRONG_HARDWARE');
  t.equal(code(null), undefined, 'where nobody has said it, the device judges for itself');
  t.equal(code('b', 'c'), 'FIRMWARE_WRONG_HARDWARE', 'people decide');
  t.equal(code('c', 'b'), undefined);
  const life = await site.start();
  const model = 'pi';
  life.devices.connected('fits', 's1', { model, firmwareVersion: '1', hardware: 'b' });
  life.devices.connected('other', 's2', { model, firmwareVersion: '1', hardware: 'c' });
  tell([made]);
  await life.updates.settled();
  t.same(await site.statuses(), { fits: 'offered', other: 'failed' });
});

t.test('of two images of a model a device gets the one for its hardware', async (t) => {
  const { releases, site, tell } = await begin(t);
  const b = releases.add({ model: 'pi', version: '2-b', image: image('b'), hardware: ['b'] });
  const c = releases.add({ model: 'pi', version: '2-c', image: image('c'), hardware: ['c', 'd'] });
  for (const { body } of [b, c]) site.firmware.come(body);
  const life = await site.start();
  const say = (device: string, hardware?: string) =>
    life.devices.connected(device, device, {
      ...{ model: 'pi', firmwareVersion: '1' },
      ...(hardware !== undefined && { hardware }),
    });
  say('has-b', 'b');
  say('has-d', 'd');
  say('has-x', 'x');
  say('silent');
  const policy = { ...campaignBody().policy, site_concurrency: 4 };
  const broken = { ...c.body, sha256: 'ab'.repeat(32) };
  tell([b, { id: c.id, body: broken }], { policy });
  await life.updates.settled();
  t.same(await site.statuses(), {}, 'nobody is chosen for what cannot be trusted');
  tell([b, c], { policy });
  await life.updates.settled();
  t.same(await site.statuses(), { 'has-b': 'offered', 'has-d': 'offered', 'has-x': 'failed' });
  const versions = async () =>
    Object.fromEntries(
      (await life.updates.executions('c')).map(([device, { toVersion }]) => [device, toVersion]),
    );
  t.match(await versions(), { 'has-b': '2-b', 'has-d': '2-c' });
  life.devices.learned('silent', { hardware: 'c' });
  await life.updates.settled();
  t.match(await versions(), { silent: '2-c' }, 'which it gets once somebody says what it is');
});

t.test('a rollback goes to an older image that it names, with the same counter', async (t) => {
  const { releases, site, tell } = await begin(t);
  const older = releases.add({ model: 'pi', version: '1.0', image: image('1') });
  site.firmware.come(older.body);
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi', firmwareVersion: '2.0' });
  tell([older]);
  await life.updates.settled();
  t.same(await site.statuses(), {}, 'it runs a newer one');
  tell([older], { allows_older: [older.id] });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
});
