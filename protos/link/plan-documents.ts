/**
 * The documents of a plan (DESIGN.md, "Plan"): what the control plane gives a site to carry out by itself. A document is
 * `{kind, id, revision, body}`; its bytes are canonical JSON, its name in the head their SHA-256.
 */
import * as v from 'valibot';
import { localUser } from '../local/people.js';
import { conflictRules } from '../semantics/conflict-policy.js';
import { lifecycleDecision } from '../semantics/lifecycle.js';
import { revocationReason } from '../semantics/revocation-reason.js';
import { campaignBody } from './campaign-document.js';

const id = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const epochMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const durationMs = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
export const sha256Hex = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in hexadecimal'),
);

/** What the fleet calls the site. `id` is `site`. */
export const siteBody = v.object({ display_name: v.string() });

/**
 * A file that makes an image of another one that is held already. It is not signed: what comes out is verified as the image is. One with
 * the digest of nothing as its source is the image, compressed.
 */
export const firmwareDelta = v.object({
  from_sha256: sha256Hex,
  /** Empty where the source is nothing. */
  from_version: v.pipe(v.string(), v.maxLength(256)),
  /** As provisioning/delta names it; whoever does not know one takes another delta, or the image. */
  format: id,
  sha256: sha256Hex,
  size_bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** Path below the control plane's HTTPS address. */
  path: v.pipe(v.string(), v.startsWith('/')),
});

/** A firmware image that a campaign of this site installs. `id` is `{model}@{version}`. */
export const firmwareBody = v.object({
  model: id,
  version: id,
  sha256: sha256Hex,
  size_bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  file_name: v.string(),
  /** Path below the control plane's HTTPS address. */
  path: v.pipe(v.string(), v.startsWith('/')),
  deltas: v.exactOptional(v.array(firmwareDelta)),
  /** The name under which the plan's metadata has it signed. Nothing installs an image without one. */
  target: v.exactOptional(v.pipe(v.string(), v.maxLength(400))),
});

/**
 * A file of signed metadata of firmware (provisioning/firmware). `id` is `root.{version}` for each root from the first on, `targets`, or the
 * name of a delegated role. What is current is what the head names: it takes the place of TUF's snapshot and timestamp.
 */
export const metadataBody = v.object({
  role: id,
  version: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** The text of the file, byte for byte. */
  signed: v.string(),
});

/** Devices that people put together, as far as they are at this site. `id` is the group's. */
export const groupBody = v.object({ devices: v.array(id) });

/** The one-time codes with which devices may enrol here; only their hashes. `id` is `claims`. */
export const claimsBody = v.object({
  codes: v.array(
    v.object({
      /** SHA-256 of secret and site, as provisioning/pki/claim-code hashes them. */
      hash: sha256Hex,
      /** The only device id it may enrol; null lets the device name itself. */
      device_id: v.nullable(id),
      /** The only model it may enrol; null is any. */
      model: v.optional(v.nullable(id), null),
      expires_at: epochMs,
    }),
  ),
});

const hexadecimal = v.pipe(v.string(), v.regex(/^[0-9a-f]{1,128}$/, 'not lower-case hexadecimal'));

/**
 * Certificates that hold no longer: what the root revoked in the whole fleet (site CAs among it), and of this site's CAs what the
 * control plane knows. A site keeps what it was once told here; leaving an entry out takes nothing back. `id` is `revocations`.
 */
export const revocationsBody = v.object({
  certificates: v.array(
    v.object({
      /** Subject key id of the issuer, and serial number without leading zeros. */
      issuer_key_id: hexadecimal,
      serial: hexadecimal,
      at: epochMs,
      reason: revocationReason,
      actor: v.string(),
      /** The device it was issued to; null for certificates of the root. */
      device: v.nullable(id),
      /** When it would have expired, where that is known. */
      expires_at: v.nullable(epochMs),
    }),
  ),
  /** The root's own list in PEM, which the site serves; null before the first. */
  root_crl: v.nullable(v.string()),
});

/** What was decided about one device. `id` is the device's. Most devices have none. */
export const deviceBody = v.object({
  /**
   * Enabled, disabled or retired by people in the cloud; the site follows it unless its own decision is later. Absent: nobody decided
   * anything there.
   */
  lifecycle: v.exactOptional(lifecycleDecision),
  /** Deleted in the cloud: the site forgets it and says `device_removed`. */
  removed: v.boolean(),
  /** Attributes that people gave it, by which campaigns choose. */
  labels: v.optional(v.record(v.string(), v.string()), {}),
});

/** Nothing is offered, and what was offered is withdrawn, until somebody lifts it. */
export const emergencyStop = v.object({
  at: epochMs,
  by: v.string(),
  reason: v.string(),
});
export type EmergencyStop = v.InferOutput<typeof emergencyStop>;

const stalePower = v.picklist(['enrolment', 'renewal']);

/** What is allowed and for how long, where a fleet wants something else than `sitePolicy` assumes. `id` is `policy`. */
export const policyBody = v.object({
  /** What a site does without once nobody has told it for so long what was revoked elsewhere. Running devices are never cut. */
  stale_revocations: v.exactOptional(
    v.object({ after_ms: durationMs, stops: v.array(stalePower) }),
  ),
  /** Lifetimes of the certificates of devices that renew by themselves, and of the others. */
  device_certificates: v.exactOptional(v.object({ renewing_ms: durationMs, other_ms: durationMs })),
  /** How long a device may be silent before it counts as inactive. */
  inactive_after_ms: v.exactOptional(durationMs),
  /** Who wins where both ends wrote one leaf of a shadow: the first rule that matches, else the later stamp. */
  shadow_conflicts: v.exactOptional(conflictRules),
  /** People stopped every update of the fleet; absent: nobody did, or it is lifted. */
  emergency_stop: v.exactOptional(emergencyStop),
  /** How long after its expiry the metadata of firmware still counts, for sites that hear of no newer; absent: not at all. */
  expired_metadata_grace_ms: v.exactOptional(durationMs),
  /** What firmware may take of the WAN; absent: all of it. */
  wan_bytes_per_s: v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
});

/** Who may enrol devices here by the certificates that they were made with. `id` is `manufacturers`. */
export const manufacturersBody = v.object({
  manufacturers: v.array(
    v.object({
      id,
      /** Its authorities in PEM: a device's certificate leads to one of them. */
      certificates: v.pipe(v.array(v.string()), v.minLength(1)),
      /** Every id that it enrols begins with this. */
      id_prefix: id,
      models: v.pipe(v.array(id), v.minLength(1)),
    }),
  ),
});

/** The people who may sign in at the gateway, WAN or not; only hashes of their passwords. `id` is `users`. */
export const usersBody = v.object({ users: v.array(localUser) });

export const planBodies = {
  site: siteBody,
  firmware: firmwareBody,
  metadata: metadataBody,
  campaign: campaignBody,
  group: groupBody,
  claims: claimsBody,
  device: deviceBody,
  policy: policyBody,
  revocations: revocationsBody,
  manufacturers: manufacturersBody,
  users: usersBody,
} as const;

export type PlanDocumentKind = keyof typeof planBodies;
export type SiteBody = v.InferOutput<typeof siteBody>;
export type FirmwareBody = v.InferOutput<typeof firmwareBody>;
export type MetadataBody = v.InferOutput<typeof metadataBody>;
export type FirmwareDelta = v.InferOutput<typeof firmwareDelta>;
export type CampaignBody = v.InferOutput<typeof campaignBody>;
export type GroupBody = v.InferOutput<typeof groupBody>;
export type ClaimsBody = v.InferOutput<typeof claimsBody>;
export type DeviceBody = v.InferOutput<typeof deviceBody>;
export type PolicyBody = v.InferOutput<typeof policyBody>;
export type RevocationsBody = v.InferOutput<typeof revocationsBody>;
export type ManufacturersBody = v.InferOutput<typeof manufacturersBody>;
export type UsersBody = v.InferOutput<typeof usersBody>;

const envelope = <K extends PlanDocumentKind>(kind: K) =>
  v.object({ kind: v.literal(kind), id, revision: v.number(), body: planBodies[kind] });

/** One document of a plan, parsed. */
export const planDocument = v.variant('kind', [
  envelope('site'),
  envelope('firmware'),
  envelope('metadata'),
  envelope('campaign'),
  envelope('group'),
  envelope('claims'),
  envelope('device'),
  envelope('policy'),
  envelope('revocations'),
  envelope('manufacturers'),
  envelope('users'),
]);
export type PlanDocument = v.InferOutput<typeof planDocument>;

/** What the head names of a document. */
export const documentReference = v.object({
  kind: v.string(),
  id,
  revision: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  sha256: sha256Hex,
});

/** The payload of the head's JWS: it names every live document; what it does not name is gone. */
export const planHead = v.object({
  fleet: id,
  site: id,
  generation: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  epoch: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  revision: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  issued_at: epochMs,
  expires_at: epochMs,
  /** Milliseconds after `expires_at` during which the site still starts new work. */
  grace: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  documents: v.array(documentReference),
});
export type PlanHead = v.InferOutput<typeof planHead>;
export type DocumentReference = v.InferOutput<typeof documentReference>;
