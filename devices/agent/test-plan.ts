/** For tests: what a site's gateway answers on `GET /firmware/metadata`, signed by a fleet made for the test; each answer is a newer plan. */
import { everyDevice, onePhase, plainCare } from '@holdfast/protos/link/campaign-document';
import type { CampaignBody, PlanDocument, PlanHead } from '@holdfast/protos/link/plan-documents';
import {
  referenceTo,
  signPlanHead,
  writePlanDocument,
} from '@holdfast/provisioning/documents/plan';
import {
  type TestManifest,
  type TestRelease,
  TestReleases,
} from '@holdfast/provisioning/firmware/test-releases';
import type { TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import type { FirmwareMetadata } from './firmware-metadata.js';

export interface PlanChange {
  readonly head?: Partial<PlanHead>;
  /** Takes the place of the documents as they are sent; the head names them as they were. */
  readonly send?: (documents: readonly PlanDocument[]) => readonly PlanDocument[];
  /** Takes their place before they are named. */
  readonly plan?: (documents: readonly PlanDocument[]) => readonly PlanDocument[];
  /** Signs it in the place of the fleet's plan signer. */
  readonly signer?: Awaited<ReturnType<TestFleet['planSigner']>>;
}

const dayMs = 86_400_000;

export class TestPlan {
  readonly releases: TestReleases;
  readonly fleet: TestFleet;
  readonly #added: TestRelease[] = [];
  readonly #campaigns = new Map<string, CampaignBody>();
  revision = 0;

  constructor(fleet: TestFleet, releases = new TestReleases()) {
    this.fleet = fleet;
    this.releases = releases;
  }

  add(manifest: TestManifest): TestRelease {
    const release = this.releases.add(manifest);
    this.#added.push(release);
    return release;
  }

  addCampaign(id: string, change: Partial<CampaignBody>): void {
    this.#campaigns.set(id, { ...plainCampaign, ...change });
  }

  async answer({ head = {}, plan, send, signer }: PlanChange = {}): Promise<FirmwareMetadata> {
    this.revision += 1;
    const made: PlanDocument[] = [
      ...this.releases.documents().map((document) => ({ ...document, revision: 1 })),
      ...this.#added.map(({ id, body }) => ({ kind: 'firmware', id, revision: 1, body }) as const),
      ...[...this.#campaigns].map(
        ([id, body]) => ({ kind: 'campaign', id, revision: 1, body }) as const,
      ),
    ];
    const documents = plan?.(made) ?? made;
    const now = Date.now();
    const { fleet, site } = this.fleet;
    const jws = await signPlanHead(signer ?? (await this.fleet.planSigner()), {
      ...{ fleet, site, generation: 1, epoch: 1, revision: this.revision },
      ...{ issued_at: now, expires_at: now + dayMs, grace: 0 },
      documents: documents.map(referenceTo),
      ...head,
    });
    const sent = send?.(documents) ?? documents;
    return { head: jws, documents: sent.map((one) => writePlanDocument(one).toString()) };
  }
}

const plainCampaign: CampaignBody = {
  state: 'running',
  firmware: [],
  document: null,
  started_at: 0,
  target: everyDevice,
  phases: [onePhase],
  policy: {
    ...plainCare,
    ...{ disruption: [], site_concurrency: 10, retries: 0 },
    ...{ offer_timeout_ms: dayMs, download_timeout_ms: dayMs },
    ...{ install_timeout_ms: dayMs, confirm_timeout_ms: dayMs },
  },
  allows_older: [],
  resumes: 0,
};
