/** What files of metadata say, in the form in which they are written anew (write-metadata). */
import type { Key } from '@tufjs/models';
import { expiresAt, type MetadataFile, readRoot, readTargets } from './metadata-file.js';
import { type PublicRoleKey, publicRoleKey } from './role-key.js';
import type { KeyHolders, RootContent, TargetContent, TargetsContent } from './write-metadata.js';

/** Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS. */
export const rootContentOf = (file: MetadataFile): RootContent => {
  const metadata = readRoot(file);
  const { keys, roles, version } = metadata.signed;
  const holders = (name: string): KeyHolders => ({
    keys: keysOf(keys, roles[name]?.keyIDs ?? []),
    threshold: roles[name]?.threshold ?? 1,
  });
  return {
    version,
    expiresAt: expiresAt(metadata),
    root: holders('root'),
    targets: holders('targets'),
  };
};

/** Errors: as `rootContentOf`. */
export const targetsContentOf = (file: MetadataFile): TargetsContent => {
  const metadata = readTargets(file);
  const { version, targets, delegations } = metadata.signed;
  return {
    version,
    expiresAt: expiresAt(metadata),
    targets: Object.fromEntries(
      // Holdfast wrote them in this form; whoever verifies them checks it (release-target).
      Object.entries(targets).map(([name, file]) => [
        name,
        file.toJSON() as unknown as TargetContent,
      ]),
    ),
    delegations: Object.values(delegations?.roles ?? {}).map((role) => ({
      name: role.name,
      paths: role.paths ?? [],
      terminating: role.terminating,
      threshold: role.threshold,
      keys: keysOf(delegations?.keys ?? {}, role.keyIDs),
    })),
  };
};

/** Ids of the keys whose signatures a file has. */
export const signersOf = (file: MetadataFile): string[] =>
  Object.keys((file.role === 'root' ? readRoot(file) : readTargets(file)).signatures);

const keysOf = (keys: Readonly<Record<string, Key>>, ids: readonly string[]): PublicRoleKey[] =>
  ids.flatMap((id) => {
    const key = keys[id]?.keyVal.public;
    return key === undefined ? [] : [publicRoleKey(key)];
  });
