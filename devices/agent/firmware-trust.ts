/**
 * This device's own judgement of firmware: whatever a gateway offers, only what the fleet's release keys have signed for it is installed.
 *
 * The head of the plan is verified under the root that the device enrolled with, then everything that the head names: the chain of roots,
 * the roles, the image. What is believed never goes back, over restarts. The WAN is not asked: the site's gateway has all of it. Every
 * refusal has its name: those of `provisioning/firmware/verify-release`, `PLAN_SIGNATURE_INVALID`, `PLAN_OTHER_SITE`, `PLAN_OLDER`,
 * `PLAN_CONFLICT`, `PLAN_DOCUMENT_INVALID`.
 */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { defaultMaxPlanAgeMs } from '@holdfast/protos/link/campaign-document';
import type { PlanDocument, PlanHead } from '@holdfast/protos/link/plan-documents';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import { type AppliedPlan, decidePlan } from '@holdfast/provisioning/documents/decide-plan';
import { readPlanDocument, verifyPlanHead } from '@holdfast/provisioning/documents/plan';
import { type FirmwareManifest, targetName } from '@holdfast/provisioning/firmware/manifest';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import { verifyMetadata, verifyRelease } from '@holdfast/provisioning/firmware/verify-release';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { type FirmwareMetadata, fetchMetadata, type MetadataSource } from './firmware-metadata.js';
import type { FirmwareBeliefs } from './firmware-record.js';
import type { DeviceIdentity } from './identity.js';
import type { CheckMoment, ReleaseCheck } from './update/image-platform.js';
import type { Release, UpdateJob } from './update/update-state.js';

export interface FirmwareTrustDeps {
  readonly record: StoredRecord<FirmwareBeliefs>;
  readonly gateway: MetadataSource;
  /** Epoch ms; null while nobody knows the time: then dates are not checked, everything else is. */
  readonly now: () => number | null;
  /** What this device runs, and the highest security counter that it ran. */
  readonly runs: () => { readonly version: string | null; readonly securityCounter: number };
}

export interface FirmwareTrustOptions {
  readonly identity: Pick<DeviceIdentity, 'root' | 'fleet' | 'site'>;
  /** What this device is now: a microcontroller says it itself. */
  readonly model: () => string;
  /** The revision of this device's hardware; null where nobody has said it. */
  readonly hardware: string | null;
  /** The root of the metadata to begin with; without one the first that the plan names is taken, and kept. */
  readonly firstRoot?: TrustedState;
}

interface ReadPlan {
  readonly head: PlanHead;
  readonly place: AppliedPlan;
  readonly documents: readonly PlanDocument[];
}

export class FirmwareTrust {
  readonly #deps: FirmwareTrustDeps;
  readonly #options: FirmwareTrustOptions;

  constructor(deps: FirmwareTrustDeps, options: FirmwareTrustOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  readonly check: ReleaseCheck = async (job, moment, signal) => {
    const metadata = await fetchMetadata(this.#deps.gateway, { signal });
    const plan = await this.#read(metadata);
    await this.#keep(plan);
    return this.#judge(job, moment, plan);
  };

  /** Everything that the head names of metadata has to be there: what is held back may be the root that a key was taken from. */
  async #read({ head: jws, documents: texts }: FirmwareMetadata): Promise<ReadPlan> {
    const { fleet, site, root } = this.#options.identity;
    const verified = await verifyPlanHead(jws, {
      root: parseCertificate(root),
      at: this.#deps.now() ?? 'unchecked',
    });
    const applied = this.#deps.record.data.plan ?? undefined;
    const decision = decidePlan({ fleet, site, applied }, verified);
    if (decision.decision === 'refuse') throw new HoldfastError(decision.code, decision.message);
    const { head, sha256 } = verified;
    const documents = texts.map((text) => readNamed(head, text));
    for (const { kind, id } of head.documents) {
      if (kind !== 'metadata' || documents.some((one) => one.kind === kind && one.id === id)) {
        continue;
      }
      const message = `The gateway holds back the metadata ${id}, which the plan names`;
      throw new HoldfastError('FIRMWARE_METADATA_MISSING', message);
    }
    return {
      head,
      place: { generation: head.generation, revision: head.revision, sha256 },
      documents,
    };
  }

  /** Before anything is judged by it: what was seen once counts, whatever becomes of this release. */
  async #keep({ head, place, documents }: ReadPlan): Promise<void> {
    const verdict = verifyMetadata(this.#trusted, filesOf(documents), this.#deps.now(), {
      head,
      expiredGraceMs: expiredGraceOf(documents),
    });
    if (!verdict.ok) throw refused(verdict);
    await this.#deps.record.update(() => ({ trusted: verdict.trusted, plan: place }));
  }

  #judge(job: UpdateJob, moment: CheckMoment, { head, documents }: ReadPlan): Release {
    const { hardware } = this.#options;
    const model = this.#options.model();
    const id = `${job.model}@${job.version}`;
    const firmware = documents.find((one) => one.kind === 'firmware' && one.id === id);
    if (firmware?.kind !== 'firmware') {
      throw new HoldfastError('FIRMWARE_TARGET_UNKNOWN', `The plan knows no firmware ${id}`);
    }
    const campaign = documents.find((one) => one.kind === 'campaign' && one.id === job.campaignId);
    const terms = campaign?.kind === 'campaign' ? campaign.body : null;
    const { version, file_name: fileName } = firmware.body;
    const target =
      firmware.body.target ?? targetName({ model: firmware.body.model, version, fileName });
    const verdict = verifyRelease(this.#trusted, filesOf(documents), target, this.#deps.now(), {
      head,
      expiredGraceMs: expiredGraceOf(documents),
      // Of what was begun the campaign asks no more: only a new device is to be offered nothing old.
      maxPlanAgeMs:
        moment === 'begin' ? (terms?.policy.max_plan_age_ms ?? defaultMaxPlanAgeMs) : undefined,
      image: job,
      device: {
        model,
        hardware,
        ...this.#deps.runs(),
        allowsOlder: terms?.allows_older.includes(id) ?? false,
      },
    });
    if (!verdict.ok) throw refused(verdict);
    return releaseOf(verdict.release.manifest);
  }

  get #trusted(): TrustedState | null {
    return this.#deps.record.data.trusted ?? this.#options.firstRoot ?? null;
  }
}

const readNamed = (head: PlanHead, text: string): PlanDocument => {
  const invalid = (why: string) =>
    new HoldfastError('PLAN_DOCUMENT_INVALID', `A document of firmware ${why}`);
  let kind: unknown;
  let id: unknown;
  try {
    ({ kind, id } = JSON.parse(text) as { kind?: unknown; id?: unknown });
  } catch {
    throw invalid('is no JSON');
  }
  const reference = head.documents.find((one) => one.kind === kind && one.id === id);
  if (reference === undefined) throw invalid('is not named by the head of the plan');
  return readPlanDocument(Buffer.from(text), reference);
};

/** What the plan's policy says of metadata that has expired. */
const expiredGraceOf = (documents: readonly PlanDocument[]): number => {
  const policy = documents.find((one) => one.kind === 'policy');
  return sitePolicy(policy?.body).expiredMetadataGraceMs;
};

const filesOf = (documents: readonly PlanDocument[]) =>
  documents.flatMap((one) => (one.kind === 'metadata' ? [one.body] : []));

const refused = ({ code, message }: { readonly code: ErrorCode; readonly message: string }) =>
  new HoldfastError(code, message);

const releaseOf = ({ installer, security_counter, steps, part }: FirmwareManifest): Release => ({
  installer,
  securityCounter: security_counter,
  steps: steps.map(({ name, file, timeout_ms }) => ({ name, file, timeoutMs: timeout_ms })),
  ...(part !== undefined && { part }),
});
