/** A gateway as a program whose control plane is the tests': a plan is published by hand, and what it says comes back over the link. */
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onePhase, plainCare } from '@holdfast/protos/link/campaign-document';
import type { CampaignBody, PlanDocument } from '@holdfast/protos/link/plan-documents';
import { type TestManifest, TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import type { Test } from 'tap';
import { enrol } from '../faults/enrolled-site.js';
import { TestCloud } from '../link/test-cloud.js';
import { openGatewayRecord } from './gateway-identity.js';
import { runSite, type SiteUnderTest } from './site-under-test.js';

export interface PlannedSite {
  readonly site: SiteUnderTest;
  readonly cloud: TestCloud;
  /** Makes these campaigns all that there are. Resolves when the gateway has the plan. */
  plan(campaigns: Readonly<Record<string, CampaignBody>>): Promise<void>;
  /** Resolves when the site says that a device's execution is so. */
  executed(campaign: string, device: string, status: string): Promise<void>;
}

/** Of an image, to be installed by the devices that are named; or of a document. */
export const plannedCampaign = (
  what: Pick<CampaignBody, 'firmware'> | Pick<CampaignBody, 'document'>,
  devices: readonly string[],
  changes: Partial<CampaignBody> = {},
): CampaignBody => ({
  state: 'running',
  started_at: 1_000,
  target: {
    ...{ models: [], device_ids: [...devices], groups: [], attributes: {} },
    ...{ current_versions: [], version_range: '', late_joiners: true },
  },
  phases: [onePhase],
  allows_older: [],
  resumes: 0,
  policy: {
    ...plainCare,
    ...{ site_concurrency: 10, retries: 0, offer_timeout_ms: 600_000 },
    ...{ download_timeout_ms: 600_000, install_timeout_ms: 600_000, confirm_timeout_ms: 600_000 },
  },
  firmware: [],
  document: null,
  ...what,
  ...changes,
});

export interface PlannedSiteOptions {
  /** Firmware that the plan names; its images lie at the gateway already. */
  readonly firmware: readonly TestManifest[];
  /** Of the environment. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** With an image alone: of the model `pi`, version 2. */
export const openPlannedSite = async (
  t: Test,
  what: Uint8Array | PlannedSiteOptions,
): Promise<PlannedSite> => {
  const { firmware, settings = {} } =
    what instanceof Uint8Array ? { firmware: [{ model: 'pi', version: '2', image: what }] } : what;
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-planned-'));
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet);
  cloud.time = () => Date.now();
  await enrol(fleet, folder);
  const record = await openGatewayRecord(folder, silent);
  if (record.data === null) throw new Error('not enrolled');
  const enrolled = { ...record.data, link_address: `127.0.0.1:${cloud.port}` };
  await record.update(() => enrolled);
  const releases = new TestReleases();
  const released = firmware.map((manifest) => releases.add(manifest));
  await mkdir(join(folder, 'firmware'), { recursive: true });
  for (const { body, image } of released) {
    await writeFile(join(folder, 'firmware', body.sha256), image);
  }
  const ca = fleet.root.certificate.pem;
  const site = Object.assign(
    await runSite(
      { folder, ca, token: 'nobody' },
      { HOLDFAST_LINK__FIRST_RETRY_MS: '50', HOLDFAST_LINK__MOST_RETRY_MS: '200', ...settings },
    ),
    { fleet },
  );
  t.teardown(async () => {
    await site.close();
    await cloud.close();
  });
  let revision = 0;
  return {
    site,
    cloud,
    async plan(campaigns) {
      revision += 1;
      const documents: PlanDocument[] = [
        ...releases.documents().map((document) => ({ ...document, revision })),
        ...released.map(({ id, body }): PlanDocument => ({ kind: 'firmware', id, revision, body })),
        ...Object.entries(campaigns).map(
          ([id, body]): PlanDocument => ({ kind: 'campaign', id, revision, body }),
        ),
      ];
      const answers = cloud.planAnswers.length;
      await cloud.publish(documents);
      await cloud.until(() => cloud.planAnswers.length > answers);
      const refused = cloud.planAnswers.at(-1)?.refusedCode;
      if (refused) throw new Error(`the plan was refused: ${refused}`);
    },
    executed: (campaign, device, status) =>
      cloud.until(() =>
        cloud.entries('state').some(({ kind, body }) => {
          const said = body as { campaign?: string; device?: string; status?: string };
          return (
            kind === 'execution' &&
            said.campaign === campaign &&
            said.device === device &&
            said.status === status
          );
        }),
      ),
  };
};

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
