/** Shadows in the local API: their conflicts, what changed in them, and the lines of a watch. Times are epoch ms by the site's clock. */
import * as v from 'valibot';
import type { JsonValue } from '../mqtt/json-payload.js';

const epochMs = v.number();
const path = v.array(v.string());
const jsonValue = v.custom<JsonValue>((value) => value !== undefined, 'Expected a JSON value');

/** One side of a conflict. */
export const shadowWriteRow = v.object({
  /** As `cloud`, `site:anna`, `device:pump-1`; empty for a deletion that nobody remembers any more. */
  writer: v.string(),
  /** When, by the writer's clock; where that was not to be believed (`trusted` false): some time after this. */
  at: v.nullable(epochMs),
  trusted: v.optional(v.boolean(), true),
  /** JSON text; empty for a deletion. */
  value_json: v.string(),
  /** Where it was written, if that is above the conflict's place or below it. */
  path: v.optional(path),
});

export const shadowConflictRow = v.object({
  /** Names it among the conflicts of its shadow. */
  conflict: v.optional(v.string(), ''),
  /** `devices/{device}/shadows/{shadow}`; the classic one is `-`. */
  shadow: v.string(),
  path,
  winner: shadowWriteRow,
  loser: shadowWriteRow,
  detected_at: epochMs,
  /** null as long as nobody has written there knowing both. */
  settlement: v.optional(
    v.nullable(
      v.object({
        kept: v.picklist(['winner', 'loser', 'other']),
        /** `policy` where a rule of the plan settled it. */
        by: v.string(),
        at: epochMs,
      }),
    ),
    null,
  ),
});
export type ShadowConflictRow = v.InferOutput<typeof shadowConflictRow>;

export const shadowConflictsAnswer = v.object({
  /** Oldest first. */
  conflicts: v.array(shadowConflictRow),
  next_page_token: v.optional(v.string(), ''),
  /** Conflicts that had to go while they were open, since more than are kept came up. */
  dropped: v.optional(v.nullable(v.object({ conflicts: v.number(), last_at: epochMs })), null),
});
export type ShadowConflictsAnswer = v.InferOutput<typeof shadowConflictsAnswer>;

/** What a commit changed in a shadow; of several writers in one commit each has its own. */
export const shadowChangeRow = v.object({
  /** Where a watch goes on from. */
  position: v.string(),
  device: v.string(),
  shadow: v.string(),
  /** The shadow's version after it; a deletion has the version that it deleted. */
  version: v.number(),
  at: epochMs,
  /** Whether the site's clock was to be believed. */
  trusted: v.boolean(),
  writer: v.string(),
  /** When the writer wrote it, where that was elsewhere. */
  written_at: v.nullable(epochMs),
  /** Whether it deleted the shadow. */
  deleted: v.boolean(),
  /** `before` is absent where nothing was, `after` where nothing is now. */
  changes: v.array(
    v.object({ path, before: v.exactOptional(jsonValue), after: v.exactOptional(jsonValue) }),
  ),
});
export type ShadowChangeRow = v.InferOutput<typeof shadowChangeRow>;

export const shadowChangesAnswer = v.object({
  changes: v.array(shadowChangeRow),
  next_page_token: v.optional(v.string(), ''),
  /** Every change after this version of the shadow is there. */
  complete_after_version: v.number(),
  /** What went before its time since the history had no room for it: of all shadows, and the newest of it. */
  dropped: v.nullable(v.object({ changes: v.number(), until: epochMs })),
});
export type ShadowChangesAnswer = v.InferOutput<typeof shadowChangesAnswer>;

export const shadowListAnswer = v.object({
  shadows: v.array(v.string()),
  states: v.optional(
    v.array(
      v.object({
        shadow: v.string(),
        version: v.number(),
        updated_at: epochMs,
        /** Open ones. */
        conflicts: v.number(),
      }),
    ),
    [],
  ),
});
export type ShadowListAnswer = v.InferOutput<typeof shadowListAnswer>;

/** What `…/settle` takes: `conflict` where more than one is open at the path. */
export const settleRequest = v.strictObject({
  path: v.pipe(path, v.minLength(1), v.maxLength(64)),
  keep: v.picklist(['winner', 'loser'], 'Expected winner or loser'),
  conflict: v.exactOptional(v.string()),
});

/** A line of `…/watch`. */
export const shadowWatchLine = v.union([
  /** The first: what follows comes after this. */
  v.object({ watching: v.object({ position: v.string(), version: v.number() }) }),
  v.object({ change: shadowChangeRow }),
  /** Some of the changes between these versions are gone, since they were not read in time; what is left follows. */
  v.object({
    missed: v.object({
      after_version: v.number(),
      to_version: v.number(),
      position: v.string(),
    }),
  }),
  /** Nothing new; the connection stands. */
  v.object({ alive: epochMs }),
]);
export type ShadowWatchLine = v.InferOutput<typeof shadowWatchLine>;
