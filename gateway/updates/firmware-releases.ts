/**
 * What of the plan's firmware can be trusted: every image is verified against the signed metadata of the same plan before anybody is
 * offered it. What is trusted is kept, so that it never goes back; what is refused is told by its name.
 */
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import { refuseForDevice } from '@holdfast/provisioning/firmware/fits-device';
import type { FirmwareRelease } from '@holdfast/provisioning/firmware/manifest';
import type { TrustedState } from '@holdfast/provisioning/firmware/trusted-state';
import { verifyMetadata, verifyRelease } from '@holdfast/provisioning/firmware/verify-release';
import type { Append, Statement } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Device } from '../devices/device.js';
import type { PlanView } from '../link/plan-view.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import { type Campaign, firmwareId, type RunsOn } from './campaign.js';

/** Why a firmware is not offered: a code of the table of errors. */
export interface FirmwareRefusal {
  readonly code: string;
  readonly message: string;
}

/** What the updates ask of it. */
export interface FirmwareVerdicts {
  /** Verifies what a plan names. Resolves after the commit. */
  take(plan: PlanView): Promise<void>;
  /** Whether a look at the same plan may give other answers by now. */
  isOld(): boolean;
  /** Why it is offered to nobody. */
  refusal(image: FirmwareBody): FirmwareRefusal | undefined;
  /** Why it can never be offered to this device. */
  refusalFor(
    image: FirmwareBody,
    device: Device,
    campaign: Campaign,
    labels: Readonly<Record<string, string>>,
  ): FirmwareRefusal | undefined;
  /** Whether its release is for the hardware of a device; undefined while it cannot be trusted, or nobody has said what the device is. */
  readonly runsOn: RunsOn;
  /** What the success of a device is committed with. */
  successWrite(device: string, image: FirmwareBody): Statement[];
  /** After that commit. */
  succeeded(device: string, image: FirmwareBody): void;
}

export interface FirmwareReleasesDeps {
  readonly site: SiteStore;
  readonly clock: Clock;
}

/** Metadata expires while the same plan is carried out. */
const oldAfterMs = 3_600_000;
/** Images at once are far fewer. */
const mostRemembered = 10_000;
/** The label that says which revision of the hardware a device is; what people say counts before what the device says itself. */
const hardwareLabel = 'hardware';

type Verdict = FirmwareRelease | FirmwareRefusal;

export class FirmwareReleases implements FirmwareVerdicts {
  readonly #deps: FirmwareReleasesDeps;
  #trusted: TrustedState | null;
  /** By id of the firmware. */
  #verdicts: ReadonlyMap<string, Verdict> = new Map();
  #told: Map<string, FirmwareRefusal>;
  readonly #counters: Map<string, number>;
  /** Of images that were verified since the start, by SHA-256: what is recalled or expires while a device installs it counts all the same. */
  readonly #counterOf = new Map<string, number>();
  #takenAt = Number.NEGATIVE_INFINITY;

  private constructor(
    deps: FirmwareReleasesDeps,
    trusted: TrustedState | null,
    told: Map<string, FirmwareRefusal>,
    counters: Map<string, number>,
  ) {
    this.#deps = deps;
    this.#trusted = trusted;
    this.#told = told;
    this.#counters = counters;
  }

  static async open(deps: FirmwareReleasesDeps): Promise<FirmwareReleases> {
    const { read } = deps.site;
    const row = await read.get<{ trusted: string }>('SELECT trusted FROM firmware_trust');
    const told = await read.all<FirmwareRefusal & { firmware: string }>(
      'SELECT firmware, code, message FROM firmware_refusals',
    );
    const counters = await read.all<{ device: string; counter: number }>(
      'SELECT device, counter FROM security_counters',
    );
    return new FirmwareReleases(
      deps,
      // Only `take` writes it.
      row === undefined ? null : (JSON.parse(row.trusted) as TrustedState),
      new Map(told.map(({ firmware, code, message }) => [firmware, { code, message }])),
      new Map(counters.map(({ device, counter }) => [device, counter])),
    );
  }

  async take({ head, documents }: PlanView): Promise<void> {
    const { clock, site } = this.#deps;
    const files = [...documents.metadata.values()].map(({ body }) => body);
    const firmware = [...documents.firmware.values()];
    const policy = sitePolicy(documents.policy.get('policy')?.body);
    const options = { head, expiredGraceMs: policy.expiredMetadataGraceMs };
    const now = clock.trusted ? clock.now() : null;
    // Without metadata nothing is trusted anew, and nothing that was is forgotten.
    const all = files.length === 0 ? undefined : verifyMetadata(this.#trusted, files, now, options);
    const trusted = all?.ok === true ? all.trusted : this.#trusted;
    const verdicts = new Map<string, Verdict>();
    for (const { id, body } of firmware) {
      const { model, version, sha256, size_bytes: sizeBytes } = body;
      const image = { model, version, sha256, sizeBytes };
      if (body.target === undefined) verdicts.set(id, unsigned);
      else if (all?.ok === false) verdicts.set(id, all);
      else {
        const verdict = verifyRelease(trusted, files, body.target, now, { ...options, image });
        verdicts.set(id, verdict.ok ? verdict.release : verdict);
      }
    }
    const refused = refusalsOf(verdicts);
    const write = [
      ...trustWrite(this.#trusted, trusted),
      ...refusalWrites(this.#told, refused, clock.now()),
    ];
    if (write.length > 0) await site.commit(write);
    this.#trusted = trusted;
    this.#told = refused;
    this.#verdicts = verdicts;
    for (const verdict of verdicts.values()) {
      if ('manifest' in verdict) this.#remember(verdict);
    }
    this.#takenAt = clock.monotonic();
  }

  #remember({ sha256, manifest }: FirmwareRelease): void {
    this.#counterOf.delete(sha256);
    this.#counterOf.set(sha256, manifest.security_counter);
    const [oldest] = this.#counterOf.keys();
    if (this.#counterOf.size > mostRemembered && oldest !== undefined) {
      this.#counterOf.delete(oldest);
    }
  }

  isOld(): boolean {
    return this.#deps.clock.monotonic() - this.#takenAt > oldAfterMs;
  }

  /** The release that was verified for an image of the plan. */
  release(image: FirmwareBody): FirmwareRelease | undefined {
    const verdict = this.#verdicts.get(firmwareId(image));
    return verdict !== undefined && 'manifest' in verdict && verdict.sha256 === image.sha256
      ? verdict
      : undefined;
  }

  /** Whether the plan says anything of it, good or bad. */
  isPlanned(image: FirmwareBody): boolean {
    return this.#verdicts.has(firmwareId(image));
  }

  refusal(image: FirmwareBody): FirmwareRefusal | undefined {
    if (this.release(image) !== undefined) return undefined;
    const verdict = this.#verdicts.get(firmwareId(image));
    return verdict !== undefined && 'code' in verdict ? verdict : unsigned;
  }

  refusalFor(
    image: FirmwareBody,
    { device, firmwareVersion, hardware }: Device,
    campaign: Campaign,
    labels: Readonly<Record<string, string>>,
  ): FirmwareRefusal | undefined {
    const release = this.release(image);
    if (release === undefined) return undefined;
    // What is not known here the device judges for itself.
    return refuseForDevice(release, {
      hardware: hardwareOf(hardware, labels) ?? undefined,
      version: firmwareVersion ?? undefined,
      securityCounter: this.#counters.get(device) ?? 0,
      allowsOlder: campaign.body.allows_older.includes(firmwareId(image)),
    });
  }

  /** Why a person at the site may not have it flashed into this device: an older version may follow there, a lower counter may not. */
  refusalByHand(
    image: FirmwareBody,
    { device, model, hardware }: Device,
    labels: Readonly<Record<string, string>> = {},
  ): FirmwareRefusal | undefined {
    const release = this.release(image);
    if (release === undefined) return this.refusal(image);
    return refuseForDevice(release, {
      model,
      hardware: hardwareOf(hardware, labels) ?? undefined,
      securityCounter: this.#counters.get(device) ?? 0,
    });
  }

  readonly runsOn: RunsOn = (image, { hardware }, labels) => {
    const wanted = this.release(image)?.manifest.hardware;
    if (wanted === undefined || wanted.length === 0) return wanted && true;
    const known = hardwareOf(hardware, labels);
    return known === null ? undefined : wanted.includes(known);
  };

  successWrite(device: string, image: FirmwareBody): Statement[] {
    const counter = this.#counterOf.get(image.sha256) ?? 0;
    if (counter <= (this.#counters.get(device) ?? 0)) return [];
    return [
      {
        sql: `INSERT INTO security_counters (device, counter) VALUES (?, ?)
              ON CONFLICT (device) DO UPDATE SET counter = max(counter, excluded.counter)`,
        params: [device, counter],
      },
    ];
  }

  succeeded(device: string, image: FirmwareBody): void {
    const counter = this.#counterOf.get(image.sha256) ?? 0;
    if (counter > (this.#counters.get(device) ?? 0)) this.#counters.set(device, counter);
  }
}

const hardwareOf = (said: string | null, labels: Readonly<Record<string, string>>): string | null =>
  labels[hardwareLabel] ?? said;

const unsigned: FirmwareRefusal = {
  code: 'FIRMWARE_TARGET_UNKNOWN',
  message: 'the plan names no signed release for it',
};

const refusalsOf = (verdicts: ReadonlyMap<string, Verdict>): Map<string, FirmwareRefusal> => {
  const refused = new Map<string, FirmwareRefusal>();
  for (const [id, verdict] of verdicts) {
    if ('code' in verdict) refused.set(id, { code: verdict.code, message: verdict.message });
  }
  return refused;
};

const trustWrite = (before: TrustedState | null, after: TrustedState | null): Statement[] => {
  const trusted = JSON.stringify(after);
  if (after === null || trusted === JSON.stringify(before)) return [];
  return [
    {
      sql: 'INSERT OR REPLACE INTO firmware_trust (id, trusted) VALUES (1, ?)',
      params: [trusted],
    },
  ];
};

/** What is refused anew, or for another reason, is told; what is not refused any more may be told again. */
const refusalWrites = (
  told: ReadonlyMap<string, FirmwareRefusal>,
  refused: ReadonlyMap<string, FirmwareRefusal>,
  at: number,
): (Statement | Append)[] => [
  ...[...refused].flatMap(([firmware, { code, message }]) =>
    told.get(firmware)?.code === code
      ? []
      : [
          {
            sql: 'INSERT OR REPLACE INTO firmware_refusals (firmware, code, message, refused_at) VALUES (?, ?, ?, ?)',
            params: [firmware, code, message, at],
          },
          journalEntry('audit', 'firmware_refused', { firmware, code, message }, at),
        ],
  ),
  ...[...told.keys()]
    .filter((firmware) => !refused.has(firmware))
    .map((firmware) => ({
      sql: 'DELETE FROM firmware_refusals WHERE firmware = ?',
      params: [firmware],
    })),
];
