/**
 * The entries of the journal (DESIGN.md, "Journal"): what a site says happened. Each names its lane, so that writer and reader
 * cannot differ. An entry of a kind that the reader does not know is kept as it is and counted: the site may be newer.
 */
import * as v from 'valibot';
import { role } from '../local/people.js';
import { hybridTime, lifecycleState } from '../semantics/lifecycle.js';
import { revocationReason } from '../semantics/revocation-reason.js';
import { doorName } from './door.js';
import { executionStatus } from './execution-status.js';

const id = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
/** Up to the last day that a date can be (ECMA-262, 21.4.1.1), since readers make dates of it. */
const epochMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(8.64e15));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** A device sends them from a counter of its own, so they may be anything up to 2^53 - 1. */
const sequence = count;

export const journalBodies = {
  audit: {
    /** A configuration was applied on site and kept, or rolled back since the gateway was not healthy with it. */
    site_configuration: v.object({
      revision: count,
      sha256: v.string(),
      /** A name of the gateway's machine. */
      by: v.string(),
      result: v.picklist(['confirmed', 'rolled_back']),
      reason: v.nullable(v.string()),
    }),
    /** A device got a certificate, or the gateway vouched for its line. */
    device_enrolled: v.object({
      device: id,
      model: v.string(),
      serial_no: v.string(),
      door: doorName,
      /** Serial number of its certificate in hexadecimal; null on a serial line, and where it has a target token. */
      certificate_serial: v.nullable(v.string()),
      /** Hash of the code that was used up; null where none was needed. */
      claim_hash: v.nullable(v.string()),
      /** The manufacturer of the plan whose certificate it showed instead. */
      manufacturer: v.exactOptional(v.string()),
      /** Of the certificate: subject key id of its issuer, and its end. */
      issuer_key_id: v.exactOptional(v.string()),
      expires_at: v.exactOptional(epochMs),
    }),
    /** A device got another certificate on the strength of the one it has. */
    certificate_issued: v.object({
      device: id,
      issuer_key_id: v.string(),
      serial: v.string(),
      expires_at: epochMs,
      /** The serial number of the certificate that it takes the place of. */
      replaces: v.nullable(v.string()),
    }),
    /** A token for hawkBit's device interface was made for a device, in place of the one it had, or was revoked. */
    target_token: v.object({ device: id, action: v.picklist(['made', 'revoked']), actor: id }),
    /** A certificate holds no longer: revoked here, or by the plan and known here from now on. */
    certificate_revoked: v.object({
      issuer_key_id: v.string(),
      serial: v.string(),
      device: v.nullable(id),
      reason: revocationReason,
      /** Who did it, as `site:operator` or `cloud:admin`. */
      actor: v.string(),
      revoked_at: epochMs,
      expires_at: v.nullable(epochMs),
    }),
    /** A device went from one state of its lifecycle to another. */
    device_lifecycle: v.object({
      device: id,
      from: v.nullable(lifecycleState),
      to: lifecycleState,
      reason: v.string(),
      actor: v.string(),
      /** Of the decision of a person; null where it followed from what the device did. */
      decided_at: v.nullable(hybridTime),
    }),
    /** A database (`site.db` or `telemetry.db`) was found damaged, put aside and made anew. */
    store_rebuilt: v.object({ database: v.string(), reason: v.string(), moved_to: v.string() }),
    /** The plan that is carried out from now on, or the one that was refused. */
    plan_applied: v.object({ generation: count, revision: count }),
    plan_refused: v.object({
      generation: count,
      revision: count,
      code: v.string(),
      message: v.string(),
    }),
    /**
     * What time it was in a boot of the site's machine: `offset` (epoch ms) and a stamp's `mono` make the time that is meant. A later one
     * of the same boot knows better.
     */
    clock: v.object({ boot: id, offset: v.pipe(v.number(), v.safeInteger()), source: v.string() }),
    /** From here on the site did not believe its clock: nothing expires by it until a `clock` follows. `step`: ms it had jumped, or 0. */
    clock_doubted: v.object({
      boot: id,
      reason: v.string(),
      step: v.pipe(v.number(), v.integer()),
    }),
    /** Somebody at the site said what time it is; null says that the machine's own is right. */
    clock_set: v.object({ actor: v.string(), time: v.nullable(epochMs), step: v.number() }),
    /** Open conflicts of a shadow that had to go, since there were more than are kept: nobody can settle them here any more. */
    shadow_conflicts_dropped: v.object({ device: id, shadow: v.string(), conflicts: count }),
    /** An order that could not be carried out; its position is taken all the same, so that it holds up none after it. */
    order_failed: v.object({
      log: v.string(),
      seq: count,
      kind: v.string(),
      code: v.string(),
      message: v.string(),
    }),
    /** Somebody was refused what is not theirs; the same again soon after is told together, with how often. */
    access_refused: v.object({
      /** As `device pump-1`, `service meter`, `user anna`, `nobody`. */
      identity: v.string(),
      verb: v.string(),
      /** The first topic, client id or right that was asked for. */
      what: v.string(),
      reason: v.string(),
      count,
    }),
    /** A person asked the gateway to change something; what came of it has entries of its own. */
    change_requested: v.object({ actor: id, method: v.string(), path: v.string() }),
    /** Somebody pressed the pairing button: until then one device may join by the certificate of its manufacturer. */
    pairing_opened: v.object({ button: v.string(), until: epochMs }),
    /** Somebody stopped every update at the site, or lifted that; what was installing went on. */
    emergency_stop: v.object({
      by: v.string(),
      reason: v.string(),
      lifted: v.boolean(),
      /** When it was stopped or lifted, epoch ms. */
      stopped_at: epochMs,
    }),
    /** A firmware of the plan was not taken, and is offered to nobody. */
    firmware_refused: v.object({ firmware: id, code: v.string(), message: v.string() }),
    /** Too many wrong passwords came from one address; `user` is null for a name that is no user's. */
    person_locked_out: v.object({
      user: v.nullable(id),
      address: v.string(),
      failures: count,
      wait_ms: count,
    }),
    person_signed_in: v.object({ user: id, role, address: v.string() }),
    /** A user was made, changed or removed at the gateway itself; `role` is null for one that is gone. */
    user_changed: v.object({ actor: id, user: id, role: v.nullable(role) }),
  },
  state: {
    /** What is known of a device now; superseded by its next one. */
    device: v.object({
      device: id,
      online: v.boolean(),
      last_seen: v.nullable(epochMs),
      firmware_version: v.nullable(v.string()),
      model: v.string(),
      door: doorName,
    }),
    /** A device that was deleted in the cloud is gone here too: what this lane said of it before is past. */
    device_removed: v.object({ device: id }),
    /** Leaves of a shadow that were written, each with its stamp: operations of protos/semantics/shadow-merge. */
    shadow: v.object({
      device: id,
      shadow: v.string(),
      operations: v.array(v.unknown()),
      /** Operations of the other end that are merged here and hold no value any more: it may forget them (`collectDead`). */
      dead: v.optional(v.array(v.unknown())),
      /** Whether these operations deleted the shadow as a whole. */
      deleted: v.optional(v.boolean()),
      /** Operations that are superseded, by what may be forgotten since: conflicts (protos/semantics/shadow-resupply). */
      lost: v.optional(v.array(v.unknown())),
      /** Whether this is all there is of the shadow, whoever wrote it; where the control plane has something else, it answers with all. */
      everything: v.optional(v.boolean()),
    }),
    /** One device's run of a campaign entered a status. */
    execution: v.object({
      campaign: id,
      device: id,
      status: executionStatus,
      attempt: count,
      progress: v.nullable(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
      from_version: v.nullable(v.string()),
      to_version: v.string(),
      error: v.nullable(v.string()),
      /** The phase of its campaign that it belongs to, from 0; null of a site that did not tell phases yet. */
      phase: v.optional(v.nullable(count), null),
      /** The door that it was last offered through; null before the first offer. */
      door: v.optional(v.nullable(doorName), null),
      /** `executionNumber` of its attempt; null before the first offer. */
      number: v.optional(v.nullable(count), null),
    }),
    /** The campaign went on to a phase, from 0; `counts` are those of all executions at the site by then, by status. */
    campaign_phase: v.object({
      campaign: id,
      phase: count,
      counts: v.record(v.string(), count),
    }),
    /** The campaign offers nothing new at this site until somebody resumes it. */
    campaign_paused: v.object({
      campaign: id,
      reason: v.string(),
      /** As `site`, `site:operator` or `cloud`. */
      by: v.string(),
    }),
    campaign_resumed: v.object({ campaign: id, by: v.string() }),
    /** Why a campaign that is not over offers nothing more here; null once it goes on. */
    campaign_waits: v.object({
      campaign: id,
      /** A code of the table of errors, or a word: `phase`, `approval`, `fleet`, `plan_age`, `emergency_stop`, `firmware`. */
      code: v.nullable(v.string()),
      reason: v.nullable(v.string()),
    }),
    /** How many executions the site made of a campaign, told when it began and when more devices came to be targeted. */
    campaign_targeted: v.object({ campaign: id, executions: count }),
    /** Every execution of the campaign at this site is over. */
    campaign_settled: v.object({ campaign: id }),
    /** Entries that were superseded before they were sealed: sequence numbers of this lane, both ends included; it has the last. */
    compacted: v.object({ from: count, to: count }),
    /** A command was committed here, answered, or ran out. */
    command: v.object({
      device: id,
      command: id,
      state: v.picklist(['delivered', 'succeeded', 'failed', 'expired']),
      response: v.nullable(v.unknown()),
      error: v.nullable(v.string()),
    }),
  },
  telemetry: {
    /** A point counts once by (device, boot, seq) where the device sends them, else by (device, series, ts). */
    point: v.object({
      device: id,
      series: id,
      ts: epochMs,
      value: v.unknown(),
      boot: v.optional(v.string()),
      seq: v.optional(sequence),
      /**
       * In place of a time: `ts` is no more than the guess of a clock that nobody vouches for. `boot` is a start of the site's machine,
       * `mono` milliseconds of its monotonic clock; an entry `clock` says what they mean. Such a point counts once by these.
       */
      stamp: v.optional(v.object({ boot: id, mono: count })),
    }),
    /** Points that had to go before they were delivered: sequence numbers of this lane, both ends included; it has the last. */
    dropped: v.object({ from: count, to: count, points: count, reason: v.string() }),
  },
} as const;

export type LaneName = keyof typeof journalBodies;
export type EntryKind<L extends LaneName> = keyof (typeof journalBodies)[L] & string;
type BodySchema<L extends LaneName, K extends EntryKind<L>> = (typeof journalBodies)[L][K];
export type EntryBody<L extends LaneName, K extends EntryKind<L>> =
  BodySchema<L, K> extends v.GenericSchema ? v.InferOutput<BodySchema<L, K>> : never;

/** An entry as it travels. */
export const journalEntry = v.object({
  seq: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** When it was committed by the site's clock, epoch ms. */
  at: epochMs,
  kind: v.pipe(v.string(), v.maxLength(64)),
  body: v.unknown(),
});
export type JournalEntry = v.InferOutput<typeof journalEntry>;
