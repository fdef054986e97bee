import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import {
  deltaOf,
  type RenderedShadow,
  renderLeaves,
  renderShadow,
  type ShadowDelta,
  type ShadowPatch,
} from '@holdfast/protos/semantics/shadow-document';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import type { ShadowKey, StoredShadow } from './stored-shadow.js';

/** A shadow as a reader sees it. */
export interface ShadowView extends RenderedShadow, ShadowKey {
  readonly version: number;
  /** Epoch seconds. */
  readonly timestamp: number;
  readonly delta?: ShadowDelta;
}

/** Who asked for a change and waits for its answer: a door and what it needs to find the asker again. */
export interface ShadowAsker {
  readonly door: string;
  readonly clientToken?: string;
}

/** What there is to tell after a change was committed: the body of its effect, which each door puts in its own words. */
export interface ShadowChange extends ShadowKey {
  readonly version: number;
  /** Epoch seconds. */
  readonly timestamp: number;
  /** To the one who asked: the request's patch, and when each of its leaves was written. */
  readonly answer?: ShadowAsker & ShadowAnswer;
  /** To the device, when what is desired is not what is reported. */
  readonly delta?: ShadowDelta;
  /** Absent for a deletion. */
  readonly documents?: {
    readonly previous: ShadowVersion;
    readonly current: ShadowVersion;
  };
}

export type ShadowAnswer =
  | {
      readonly operation: 'update';
      readonly state: ShadowPatch | null;
      readonly metadata: JsonObject;
    }
  | { readonly operation: 'delete' };

export interface ShadowVersion extends RenderedShadow {
  readonly version: number;
}

export const shadowChanged = 'shadow_changed';

/** Unique for each change of a shadow: a deletion has the version of what it deleted. */
export const changeId = (
  { device, name }: ShadowKey,
  version: number,
  isDeletion: boolean,
): string => `${shadowChanged}:${device}:${name}:${version}${isDeletion ? ':deleted' : ''}`;

export const viewOf = (
  { device, name }: ShadowKey,
  shadow: StoredShadow,
  now: number,
): ShadowView => {
  const delta = deltaOf(shadow.state);
  return {
    device,
    name,
    ...renderShadow(shadow.state),
    version: shadow.version,
    timestamp: secondsOf(now),
    ...(delta === undefined ? {} : { delta }),
  };
};

export const changeOf = (
  { device, name }: ShadowKey,
  before: StoredShadow,
  after: StoredShadow,
  now: number,
  answer?: ShadowAsker & ShadowAnswer,
): ShadowChange => {
  const told = {
    device,
    name,
    version: after.version,
    timestamp: secondsOf(now),
    ...(answer === undefined ? {} : { answer }),
  };
  if (!after.exists) return told;
  const delta = deltaOf(after.state);
  const previous = { ...renderShadow(before.state), version: before.version };
  const current = { ...renderShadow(after.state), version: after.version };
  return {
    ...told,
    ...(delta === undefined ? {} : { delta }),
    documents: { previous, current },
  };
};

/** When each leaf of a request was written; a deletion has its time too. */
export const metadataOf = (operations: readonly ShadowOperation[]): JsonObject => ({
  ...renderLeaves(operations).metadata,
});

const secondsOf = (now: number): number => Math.floor(now / 1_000);
