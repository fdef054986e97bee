/**
 * Who wins where the control plane and the site wrote one leaf unseen by each other, if a fleet wants something else than
 * the later stamp: rules of the plan's `policy` document (`shadow_conflicts`), the first that matches counts. Pure.
 *
 * The merge knows nothing of it. The gateway, which alone applies it, writes the preferred value again as the writer
 * `policy`, knowing both: an ordinary operation, so that everything stays convergent.
 */
import * as v from 'valibot';
import type { ShadowPath } from './shadow-merge.js';

export const conflictWinners = ['cloud', 'site', 'latest'] as const;
export type ConflictWinner = (typeof conflictWinners)[number];

/** Who settled a conflict where a rule did: the writer of what is written then. */
export const policyWriter = 'policy';

const longestPattern = 512;

/** Keys joined by dots, `*` for any one: a key that holds a dot itself can only be met by `*`. */
const pattern = v.pipe(
  v.string(),
  v.maxLength(longestPattern),
  v.check(
    (text) => text.split('.').every((key) => key !== ''),
    'a path is keys joined by dots, as desired.mode',
  ),
  v.check(
    (text) => ['desired', 'reported', '*'].includes(text.split('.')[0] ?? ''),
    'a path begins with desired, reported or *',
  ),
);

export const conflictRule = v.object({
  /** The name of the shadows it holds for, `-` for the classic one; absent: every shadow. */
  shadow: v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
  /** As `desired.mode` or `desired.*.limit`. It holds for what is below as well. */
  path: pattern,
  winner: v.picklist(conflictWinners),
});
export type ConflictRule = v.InferOutput<typeof conflictRule>;

export const conflictRules = v.pipe(v.array(conflictRule), v.maxLength(1_000));

/** Which side wins a conflict at this path: `latest`, the later stamp, where no rule says anything. */
export const winnerOf = (
  rules: readonly ConflictRule[],
  shadow: string,
  path: ShadowPath,
): ConflictWinner =>
  rules.find((rule) => (rule.shadow ?? shadow) === shadow && matches(rule.path, path))?.winner ??
  'latest';

/** The side of a writer: devices and people at the site are the site, and so is what a rule of it wrote. */
export const sideOf = (writer: string): 'cloud' | 'site' =>
  writer === 'cloud' || writer.startsWith('cloud:') ? 'cloud' : 'site';

const matches = (text: string, path: ShadowPath): boolean => {
  const keys = text.split('.');
  return keys.length <= path.length && keys.every((key, at) => key === '*' || key === path[at]);
};
