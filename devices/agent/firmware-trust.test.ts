import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { PlanDocument } from '@holdfast/protos/link/plan-documents';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t, { type Test } from 'tap';
import { openFirmwareRecord } from './firmware-record.js';
import { FirmwareTrust } from './firmware-trust.js';
import { silentLog as log } from './log.js';
import { type PlanChange, TestPlan } from './test-plan.js';
import { makeDirectory } from './update/update-fixture.js';
import type { UpdateJob } from './update/update-state.js';

const fleet = await createTestFleet();
const signal = AbortSignal.timeout(60_000);
const image = Buffer.from('image of the pump');

/** A device behind a gateway that answers what a test says. */
const setUp = async (
  t: Test,
  {
    version = '1.0.0',
    securityCounter = 0,
    hardware = 'b',
    now = Date.now(),
    firstRoot,
    releases = new TestReleases(),
  }: {
    version?: string;
    securityCounter?: number;
    hardware?: string;
    now?: number | null;
    firstRoot?: TestPlan;
    releases?: TestReleases;
  } = {},
) => {
  const directory = await makeDirectory();
  const plan = new TestPlan(fleet, releases);
  let answer = { head: '', documents: [] as readonly string[] };
  const server = createServer((_, response) => response.end(JSON.stringify(answer)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await directory.remove();
  });
  const { port } = server.address() as AddressInfo;
  const time: { now: number | null } = { now };
  const open = async () =>
    new FirmwareTrust(
      {
        record: await openFirmwareRecord(directory.path, log),
        gateway: { baseUrl: () => `http://127.0.0.1:${String(port)}` },
        now: () => time.now,
        runs: () => ({ version, securityCounter }),
      },
      {
        identity: {
          root: fleet.root.certificate.pem,
          fleet: fleet.fleet,
          site: fleet.site,
        },
        model: () => 'pump',
        hardware,
        ...(firstRoot && { firstRoot: firstRoot.releases.trusted }),
      },
    );
  let trust = await open();
  return {
    plan,
    time,
    reopen: async () => {
      trust = await open();
    },
    check: async (job: UpdateJob, change?: PlanChange, moment: 'begin' | 'install' = 'begin') => {
      answer = await plan.answer(change);
      return trust.check(job, moment, signal);
    },
  };
};
type Device = Awaited<ReturnType<typeof setUp>>;

const offer = (
  { plan }: Device,
  manifest: Partial<Parameters<TestPlan['add']>[0]> = {},
): UpdateJob => {
  const { body } = plan.add({ model: 'pump', version: '2.0.0', image, ...manifest });
  return {
    ...{ id: 'c-1', campaignId: 'c-1', model: 'pump', version: body.version, url: body.path },
    ...{ sha256: body.sha256, sizeBytes: body.size_bytes },
  };
};

t.test('takes what its release keys signed, and what they say of the installation', async (t) => {
  const device = await setUp(t);
  const steps = [{ name: 'one', file: 'one.sh', timeout_ms: 5_000 }];
  const job = offer(device, { installer: 'script', security_counter: 3, steps });
  t.same(await device.check(job), {
    installer: 'script',
    securityCounter: 3,
    steps: [{ name: 'one', file: 'one.sh', timeoutMs: 5_000 }],
  });
});

t.test('does not need to know the time, but then no date is checked', async (t) => {
  const device = await setUp(t, { now: null });
  await device.check(offer(device), { head: { expires_at: 1_000 } });
  device.time.now = Date.now();
  await t.rejects(device.check(offer(device), { head: { expires_at: 1_000 } }), {
    code: 'FIRMWARE_FROZEN',
  });
});

t.test('goes by the policy of the plan where metadata has expired', async (t) => {
  const hourMs = 3_600_000;
  const releases = new TestReleases({ expiresAt: Date.now() - hourMs });
  const device = await setUp(t, { releases });
  const job = offer(device);
  await t.rejects(device.check(job), { code: 'FIRMWARE_METADATA_EXPIRED' });
  const within = (expired_metadata_grace_ms: number): PlanChange => ({
    plan: (documents): PlanDocument[] => [
      ...documents,
      { kind: 'policy', id: 'policy', revision: 1, body: { expired_metadata_grace_ms } },
    ],
  });
  await device.check(job, within(2 * hourMs));
  await t.rejects(device.check(job, within(hourMs / 2)), { code: 'FIRMWARE_METADATA_EXPIRED' });
});

type Kind = 'metadata' | 'firmware' | 'campaign';
const without = (kind: Kind, id: string): PlanChange => ({
  send: (documents) => documents.filter((one) => one.kind !== kind || one.id !== id),
});

/** What a gateway that was taken over can do to a device, and what the device calls it. */
const lies: Record<string, { code: string; attack: (device: Device) => Promise<unknown> }> = {
  'a plan that somebody else signed': {
    code: 'PLAN_SIGNATURE_INVALID',
    attack: async (device) => {
      const signer = await (await createTestFleet()).planSigner();
      return device.check(offer(device), { signer });
    },
  },
  'the plan of another site': {
    code: 'PLAN_OTHER_SITE',
    attack: (device) => device.check(offer(device), { head: { site: 'site-b' } }),
  },
  'an older plan than it has seen': {
    code: 'PLAN_OLDER',
    attack: async (device) => {
      const job = offer(device);
      await device.check(job, { head: { revision: 9 } });
      await device.reopen();
      return device.check(job, { head: { revision: 8 } });
    },
  },
  'two plans of one revision': {
    code: 'PLAN_CONFLICT',
    attack: async (device) => {
      const job = offer(device);
      await device.check(job, { head: { revision: 9 } });
      return device.check(job, { head: { revision: 9, grace: 77 } });
    },
  },
  'a plan that is too old for a new device': {
    code: 'FIRMWARE_FROZEN',
    attack: async (device) => {
      const job = offer(device);
      device.plan.addCampaign('c-1', { firmware: ['pump@2.0.0'] });
      const issued_at = Date.now() - 73 * 3_600_000;
      await device.check(job, { head: { issued_at } }, 'install');
      return device.check(job, { head: { issued_at } });
    },
  },
  'a document that the plan does not name': {
    code: 'PLAN_DOCUMENT_INVALID',
    attack: (device) => {
      const job = offer(device);
      return device.check(job, {
        plan: (documents) => documents.filter(({ kind }) => kind !== 'firmware'),
        send: (documents) => [
          ...documents,
          { kind: 'campaign', id: 'c-9', revision: 1, body: {} as never },
        ],
      });
    },
  },
  'a document with other bytes than named': {
    code: 'PLAN_DOCUMENT_INVALID',
    attack: (device) =>
      device.check(offer(device), {
        send: (documents) =>
          documents.map((one) =>
            one.kind === 'firmware' ? { ...one, body: { ...one.body, size_bytes: 1 } } : one,
          ),
      }),
  },
  'metadata held back': {
    code: 'FIRMWARE_METADATA_MISSING',
    attack: (device) => device.check(offer(device), without('metadata', 'root.1')),
  },
  'a firmware that the plan does not know': {
    code: 'FIRMWARE_TARGET_UNKNOWN',
    attack: (device) => device.check({ ...offer(device), version: '9.9.9' }),
  },
  'another image than was signed': {
    code: 'FIRMWARE_MIX_AND_MATCH',
    attack: (device) => device.check({ ...offer(device), sha256: 'a'.repeat(64) }),
  },
  'an older release under the version of a newer one': {
    code: 'FIRMWARE_MIX_AND_MATCH',
    attack: async (device) => {
      const job = { ...offer(device, { version: '1.5.0' }), version: '3.0.0' };
      return device.check(job, {
        plan: (documents) =>
          documents.map((one) =>
            one.kind === 'firmware'
              ? { ...one, id: 'pump@3.0.0', body: { ...one.body, version: '3.0.0' } }
              : one,
          ),
      });
    },
  },
  'metadata of other release keys': {
    code: 'FIRMWARE_SIGNATURE_INVALID',
    attack: async (device) => {
      const job = offer(device);
      const stranger = new TestPlan(fleet);
      stranger.add({ model: 'pump', version: '2.0.0', image: Buffer.from('evil') });
      const [evil] = stranger.releases.documents().filter(({ id }) => id === 'release-pump');
      return device.check(job, {
        plan: (documents) =>
          documents.map((one) =>
            one.id === 'release-pump' && evil !== undefined ? { ...evil, revision: 1 } : one,
          ),
      });
    },
  },
  'a root that does not follow from the one it trusts': {
    code: 'FIRMWARE_SIGNATURE_INVALID',
    attack: async (device) => {
      await device.check(offer(device));
      await device.reopen();
      const stranger = new TestPlan(fleet);
      stranger.revision = device.plan.revision;
      const { body } = stranger.add({ model: 'pump', version: '2.0.0', image });
      stranger.releases.rotateRoot();
      const job = { ...offer(device), sha256: body.sha256 };
      const documents = stranger.releases.documents().map((one) => ({ ...one, revision: 1 }));
      return device.check(job, {
        plan: (own) => [
          ...own.filter(({ kind }) => kind !== 'metadata'),
          ...documents.filter(({ id }) => id !== 'root.1'),
        ],
      });
    },
  },
  'metadata older than it has seen, in a newer plan': {
    code: 'FIRMWARE_ROLLBACK',
    attack: async (device) => {
      const job = offer(device);
      const older = device.plan.releases.documents().map((one) => ({ ...one, revision: 1 }));
      offer(device, { version: '2.0.1' });
      await device.check(job);
      await device.reopen();
      return device.check(job, {
        plan: (documents) => [...documents.filter(({ kind }) => kind !== 'metadata'), ...older],
      });
    },
  },
  'a release for another model': {
    code: 'FIRMWARE_WRONG_MODEL',
    attack: (device) => {
      const job = offer(device, { model: 'valve' });
      return device.check({ ...job, model: 'valve' });
    },
  },
  'a release for other hardware': {
    code: 'FIRMWARE_WRONG_HARDWARE',
    attack: (device) => device.check(offer(device, { hardware: ['c'] })),
  },
  'a release that does not follow what runs': {
    code: 'FIRMWARE_SOURCE_VERSION',
    attack: (device) => device.check(offer(device, { source_versions: '>=1.5' })),
  },
};

for (const [what, { code, attack }] of Object.entries(lies)) {
  t.test(`refuses ${what}`, async (t) => {
    await t.rejects(attack(await setUp(t)), { code });
  });
}

t.test(
  'goes back only where the campaign in the plan says so, and never below its counter',
  async (t) => {
    const device = await setUp(t, { version: '3.0.0', securityCounter: 2 });
    const job = offer(device, { security_counter: 2 });
    await t.rejects(device.check(job), { code: 'FIRMWARE_ROLLBACK' });
    device.plan.addCampaign('c-1', { firmware: ['pump@2.0.0'], allows_older: ['pump@2.0.0'] });
    await device.check(job);
    await t.rejects(device.check({ ...job, campaignId: 'c-2' }), { code: 'FIRMWARE_ROLLBACK' });
    const lower = offer(device, { version: '1.9.0', security_counter: 1 });
    device.plan.addCampaign('c-1', { firmware: ['pump@1.9.0'], allows_older: ['pump@1.9.0'] });
    await t.rejects(device.check(lower), { code: 'FIRMWARE_COUNTER_TOO_LOW' });
  },
);

t.test(
  'follows the chain of roots from the one that it was given, and from no other',
  async (t) => {
    const given = new TestPlan(fleet);
    const device = await setUp(t, { firstRoot: given });
    await t.rejects(device.check(offer(device)), { code: 'FIRMWARE_MIX_AND_MATCH' });
    const own = await setUp(t);
    const job = offer(own);
    await own.check(job);
    own.plan.releases.rotateRoot();
    await own.check(job);
  },
);
