import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PlanDocument, PlanHead, PolicyBody } from '@holdfast/protos/link/plan-documents';
import { referenceTo } from '@holdfast/provisioning/documents/plan';
import type { MetadataFile } from '@holdfast/provisioning/firmware/metadata-file';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { newDevice } from '../devices/device.js';
import { type PlanView, viewOf } from '../link/plan-view.js';
import { siteMigrations } from '../store/site-migrations.js';
import { FirmwareReleases } from './firmware-releases.js';
import { campaignBody, log } from './updates-fixture.js';

const hourMs = 3_600_000;
const image = Buffer.from('image');

const setUp = async (t: Test, releases = new TestReleases()) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-releases-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const clock = new ManualClock();
  const site = { read: store.read, commit: store.commits.commit.bind(store.commits) };
  const open = () => FirmwareReleases.open({ site, clock });
  const { body } = releases.add({ model: 'pi', version: '2', image, security_counter: 2 });
  /** A plan as the control plane has just issued it. */
  const plan = (
    {
      files = releases.metadata(),
      firmware = body,
      policy,
    }: { files?: readonly MetadataFile[]; firmware?: typeof body; policy?: PolicyBody } = {},
    head: Partial<PlanHead> = {},
  ): PlanView => {
    const documents: PlanDocument[] = [
      ...files.map(
        (file): PlanDocument => ({
          kind: 'metadata',
          id: file.role === 'root' ? `root.${file.version}` : file.role,
          revision: 1,
          body: file,
        }),
      ),
      { kind: 'firmware', id: 'pi@2', revision: 1, body: firmware },
      ...(policy === undefined
        ? []
        : [{ kind: 'policy', id: 'policy', revision: 1, body: policy } as const]),
    ];
    const of = {
      ...{ fleet: 'f', site: 's', generation: 1, epoch: 1, revision: 1 },
      ...{ issued_at: clock.now(), expires_at: clock.now() + 10_000 * hourMs, grace: 0 },
      documents: documents.map(referenceTo),
    };
    return viewOf({ ...of, ...head }, documents);
  };
  const told = async () =>
    (
      await store.read.all<{ body: string }>(
        "SELECT body FROM journal_audit WHERE kind = 'firmware_refused'",
      )
    ).map(({ body }) => JSON.parse(body).code);
  return { open, plan, body, clock, releases, told };
};

t.test('trusts what the plan has signed, and keeps what it trusts over a start', async (t) => {
  const { open, plan, body, releases, told } = await setUp(t);
  const first = await open();
  const old = plan();
  t.match(first.refusal(body), { code: 'FIRMWARE_TARGET_UNKNOWN' }, 'nothing was verified yet');
  await first.take(old);
  t.equal(first.refusal(body), undefined);
  releases.add({ model: 'pi', version: '3', image });
  await first.take(plan());
  t.equal(first.refusal(body), undefined);

  const second = await open();
  await second.take(old);
  t.match(second.refusal(body), { code: 'FIRMWARE_ROLLBACK' });
  await second.take(plan());
  t.equal(second.refusal(body), undefined);
  t.same(await told(), ['FIRMWARE_ROLLBACK'], 'and the control plane hears of it');
});

t.test('refuses by name what was replayed, mixed, held back or signed by others', async (t) => {
  const { open, plan, body, releases, told } = await setUp(t);
  const firmware = await open();
  await firmware.take(plan());
  const { target: _, ...unsigned } = body;
  const stranger = new TestReleases();
  stranger.add({ model: 'pi', version: '2', image });
  const whole = plan();
  const renamed = { ...body, sha256: 'f'.repeat(64) };
  for (const [view, code, of] of [
    [plan({ firmware: unsigned as typeof body }), 'FIRMWARE_TARGET_UNKNOWN', body],
    [plan({ firmware: renamed }), 'FIRMWARE_MIX_AND_MATCH', renamed],
    [plan({ files: stranger.metadata() }), 'FIRMWARE_MIX_AND_MATCH', body],
    [
      plan({ files: releases.metadata().filter(({ role }) => role !== 'release-pi') }),
      'FIRMWARE_METADATA_MISSING',
      body,
    ],
    [{ ...plan({ files: stranger.metadata() }), head: whole.head }, 'FIRMWARE_MIX_AND_MATCH', body],
  ] as const) {
    await firmware.take(view);
    t.match(firmware.refusal(of), { code });
  }
  await firmware.take(whole);
  t.equal(firmware.refusal(body), undefined);
  t.ok((await told()).length >= 3);
});

t.test('goes by the policy of the plan where metadata expires offline', async (t) => {
  const { clock, open, plan, body } = await setUp(
    t,
    new TestReleases({ expiresAt: new ManualClock().now() + 10 * hourMs }),
  );
  const firmware = await open();
  const strict = plan();
  const lenient = plan({ policy: { expired_metadata_grace_ms: 5 * hourMs } });
  await firmware.take(strict);
  t.equal(firmware.refusal(body), undefined);
  t.equal(firmware.isOld(), false);
  clock.advance(11 * hourMs);
  t.equal(firmware.isOld(), true, 'and looks again without a new plan');
  await firmware.take(strict);
  t.match(firmware.refusal(body), { code: 'FIRMWARE_METADATA_EXPIRED' });
  await firmware.take(lenient);
  t.equal(firmware.refusal(body), undefined);
  clock.advance(5 * hourMs);
  await firmware.take(lenient);
  t.match(firmware.refusal(body), { code: 'FIRMWARE_METADATA_EXPIRED' });
  clock.trusted = false;
  await firmware.take(strict);
  t.equal(firmware.refusal(body), undefined, 'a clock that nobody set checks no dates');
});

t.test('lets the security counter of a device only rise', async (t) => {
  const { open, plan, body } = await setUp(t);
  const firmware = await open();
  await firmware.take(plan());
  const device = { ...newDevice('a', 'native', 1), model: 'pi', firmwareVersion: '1' };
  const campaign = { id: 'c', body: campaignBody(), images: [body] };
  const refusal = (releases: FirmwareReleases, labels: Record<string, string> = {}) =>
    releases.refusalFor(body, device, campaign, labels);
  t.equal(refusal(firmware), undefined);
  t.equal(firmware.successWrite('a', body).length, 1);
  firmware.succeeded('a', body);
  t.equal(firmware.successWrite('a', body).length, 0, 'written once');
  t.equal(refusal(firmware), undefined, 'the same counter again');
  const newer = { ...device, firmwareVersion: '3' };
  t.match(firmware.refusalFor(body, newer, campaign, {}), { code: 'FIRMWARE_ROLLBACK' });
  const back = { ...campaign, body: campaignBody({ allows_older: ['pi@2'] }) };
  t.equal(firmware.refusalFor(body, newer, back, {}), undefined);
});
