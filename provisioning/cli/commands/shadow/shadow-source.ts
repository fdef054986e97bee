/** Where the shadow commands get what they show: the control plane, or the gateway that one stands at. */
import type { ConflictKeep } from '@holdfast/protos/semantics/conflict-settlement';
import type { JsonObject } from '../../arguments.js';
import type { CommandContext } from '../../context.js';
import { cloudShadows } from './cloud-shadows.js';
import { gatewayShadows } from './gateway-shadows.js';
import type { ChangeRow, ConflictRow, ShadowNameRow, ShadowRow } from './shadow-rows.js';

/** A shadow as it was typed. */
export interface ShadowChoice {
  /** `SITE/DEVICE` or `DEVICE`. */
  readonly device: string;
  readonly site: string | undefined;
  /** `-` for the classic one. */
  readonly name: string;
}

export interface ConflictChoice {
  readonly site: string | undefined;
  readonly device: string | undefined;
  /** `open` alone, or those that are settled as well. */
  readonly settled: boolean;
}

export interface Settle {
  readonly path: readonly string[];
  readonly keep: ConflictKeep;
  /** Where several are open at the path. */
  readonly conflict: string | undefined;
}

export interface ChangeChoice {
  readonly since: Date | undefined;
  /** Only what touches this or is below it. */
  readonly path: readonly string[] | undefined;
  /** Changes after the one version, up to and with the other. */
  readonly fromVersion: number | undefined;
  readonly toVersion: number | undefined;
  /** At most so many, the newest. */
  readonly most: number | undefined;
}

export interface Changes {
  /** Oldest first. */
  readonly changes: readonly ChangeRow[];
  /** Whether there are more than were asked for. */
  readonly hasMore: boolean;
  /** Every change after this version is kept. */
  readonly completeAfter: number;
  /** What went before its time, of all shadows, and the newest of it. */
  readonly dropped: { readonly changes: number; readonly until: Date } | undefined;
}

export type WatchEvent =
  /** It is under way; what follows comes after this. */
  | { readonly kind: 'watching'; readonly position: string; readonly version: number }
  | { readonly kind: 'change'; readonly change: ChangeRow }
  /** Changes between these versions are gone. */
  | {
      readonly kind: 'missed';
      readonly position: string;
      readonly afterVersion: number;
      readonly toVersion: number;
    }
  /** The connection stands. */
  | { readonly kind: 'alive' };

export interface ShadowSource {
  /** What follows a change here, in words. */
  readonly whenItReaches: string;
  get(shadow: ShadowChoice): Promise<ShadowRow>;
  list(device: Omit<ShadowChoice, 'name'>): Promise<ShadowNameRow[]>;
  set(shadow: ShadowChoice, desired: JsonObject, version: number | undefined): Promise<ShadowRow>;
  conflicts(of: ConflictChoice): Promise<{
    readonly conflicts: readonly ConflictRow[];
    /** Open ones that had to go since there were too many. */
    readonly dropped: number;
  }>;
  /** Gives what the shadow is then. */
  settle(shadow: ShadowChoice, settle: Settle): Promise<ShadowRow>;
  changes(shadow: ShadowChoice, of: ChangeChoice): Promise<Changes>;
  /** One connection: ends when that does, or rejects. `after` is a position. */
  watch(
    shadow: ShadowChoice,
    after: string | undefined,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent>;
}

export const shadowSource = async ({
  asksGateway,
  gateway,
  cloud,
}: Pick<CommandContext, 'asksGateway' | 'gateway' | 'cloud'>): Promise<ShadowSource> =>
  asksGateway ? gatewayShadows(await gateway()) : cloudShadows(await cloud());
