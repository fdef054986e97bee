/** What a verifier keeps between two looks at the metadata, so that nothing it trusted once goes back. */
import { createHash } from 'node:crypto';
import type { Metadata, Root, Targets } from '@tufjs/models';
import type { MetadataFile } from './metadata-file.js';

export interface TrustedState {
  /** Text of the newest root that was trusted. */
  readonly root: string;
  /** The highest version seen of `root`, `targets` and each delegated role. */
  readonly versions: Readonly<Record<string, number>>;
  /** Of each role but root: which file had that version, and whose keys it was checked with. */
  readonly seen: Readonly<Record<string, SeenRole>>;
}

export interface SeenRole {
  /** SHA-256 of the file's text. */
  readonly sha256: string;
  /** Ids of the keys that could sign it. */
  readonly keys: readonly string[];
}

/** Trust in this root and in nothing seen so far: what was given by hand, or came with the first contact. */
export const trustRoot = (root: MetadataFile): TrustedState => ({
  root: root.signed,
  versions: { root: root.version },
  seen: {},
});

/** The root of a trusted state as the file it was. */
export const rootFileOf = ({ root, versions }: TrustedState): MetadataFile => ({
  role: 'root',
  version: versions.root ?? 0,
  signed: root,
});

export type RoleMetadata = Metadata<Root> | Metadata<Targets>;

export const textSha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
