/**
 * How many devices of the site, and of its groups, are missing now: offline, or changed by an update. Every limit of every campaign under
 * way holds for whatever begins here, so that two campaigns together disturb no more than either may.
 */
import type { DisruptionLimit } from '@holdfast/protos/link/campaign-document';

/** What one device counts for. */
export interface Presence {
  readonly isInService: boolean;
  readonly isMissing: boolean;
}

interface Tally {
  /** Null: every device of the site. */
  readonly members: ReadonlySet<string> | null;
  readonly limits: readonly DisruptionLimit[];
  readonly name: string;
  size: number;
  missing: number;
}

const out: Presence = { isInService: false, isMissing: false };

export class Availability {
  readonly #devices = new Map<string, Presence>();
  readonly #reserved = new Map<string, number>();
  #tallies: Tally[] = [];
  #frees = 0;

  /** Counts up when something that was not possible may be now. */
  get frees(): number {
    return this.#frees;
  }

  /** What is to hold from now on. A limit of a group that there is none of holds for nobody. */
  configure(
    limits: readonly DisruptionLimit[],
    groups: ReadonlyMap<string, ReadonlySet<string>>,
  ): void {
    const byGroup = new Map<string | null, DisruptionLimit[]>();
    for (const limit of limits) {
      byGroup.set(limit.group, [...(byGroup.get(limit.group) ?? []), limit]);
    }
    this.#tallies = [...byGroup].map(([group, own]) => ({
      members: group === null ? null : (groups.get(group) ?? new Set()),
      limits: own,
      name: group === null ? 'the site' : `the group ${group}`,
      size: 0,
      missing: 0,
    }));
    for (const [device, presence] of this.#devices) {
      this.#count(device, presence.isInService, this.#isMissing(device, presence), 1);
    }
    this.#frees += 1;
  }

  /** Undefined: the device is gone. */
  set(device: string, presence: Presence | undefined): void {
    const before = this.#devices.get(device) ?? out;
    const after = presence ?? out;
    if (before.isInService === after.isInService && before.isMissing === after.isMissing) return;
    this.#change(device, () => {
      if (presence === undefined) this.#devices.delete(device);
      else this.#devices.set(device, presence);
    });
  }

  /** Takes a device for missing until what it begins is committed. Returns how to end that; idempotent. */
  reserve(device: string): () => void {
    const add = (by: number) =>
      this.#change(device, () => {
        const reserved = (this.#reserved.get(device) ?? 0) + by;
        if (reserved === 0) this.#reserved.delete(device);
        else this.#reserved.set(device, reserved);
      });
    add(1);
    let isDone = false;
    return () => {
      if (isDone) return;
      isDone = true;
      add(-1);
    };
  }

  /** Why this device may not be missing too, in a sentence after "it"; undefined when it may. */
  whyNot(device: string): string | undefined {
    const presence = this.#devices.get(device) ?? out;
    if (this.#isMissing(device, presence)) return undefined;
    for (const { members, limits, name, size, missing } of this.#tallies) {
      if (members !== null && !members.has(device)) continue;
      for (const { max_unavailable: most, min_available: least } of limits) {
        if (most !== null && missing + 1 > most) {
          return `waits for its turn: ${missing} of ${name} are missing, and ${most} may be`;
        }
        if (least !== null && size - missing - 1 < least) {
          return `waits for its turn: ${size - missing} of ${name} are there, and ${least} have to be`;
        }
      }
    }
    return undefined;
  }

  #isMissing(device: string, { isInService, isMissing }: Presence): boolean {
    return isInService && (isMissing || this.#reserved.has(device));
  }

  #change(device: string, work: () => void): void {
    const before = this.#devices.get(device) ?? out;
    const wasMissing = this.#isMissing(device, before);
    work();
    const after = this.#devices.get(device) ?? out;
    const isMissing = this.#isMissing(device, after);
    if (before.isInService !== after.isInService || wasMissing !== isMissing) {
      this.#count(device, before.isInService, wasMissing, -1);
      this.#count(device, after.isInService, isMissing, 1);
      if (wasMissing || !before.isInService) this.#frees += 1;
    }
  }

  #count(device: string, isInService: boolean, isMissing: boolean, by: number): void {
    if (!isInService) return;
    for (const tally of this.#tallies) {
      if (tally.members !== null && !tally.members.has(device)) continue;
      tally.size += by;
      if (isMissing) tally.missing += by;
    }
  }
}
