/** Writes files of metadata: what a root and a targets role say, and the signatures over it. */
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { FirmwareManifest } from './manifest.js';
import { type MetadataFile, placeRoles, readRoot, readTargets } from './metadata-file.js';
import { type PublicRoleKey, type RoleKey, roleKeyId, signWith } from './role-key.js';

/** Who may sign, and how many of them must. */
export interface KeyHolders {
  readonly keys: readonly PublicRoleKey[];
  readonly threshold: number;
}

export interface RootContent {
  readonly version: number;
  /** Epoch ms; written in whole seconds. */
  readonly expiresAt: number;
  readonly root: KeyHolders;
  readonly targets: KeyHolders;
}

export interface Delegation extends KeyHolders {
  readonly name: string;
  /** Patterns of names of targets: `pump/*\/*`. */
  readonly paths: readonly string[];
  /** Nobody further down the list is asked for what these paths match. */
  readonly terminating: boolean;
}

/** What is signed about one image. */
export interface TargetContent {
  readonly length: number;
  readonly hashes: { readonly sha256: string; readonly sha1: string; readonly md5: string };
  readonly custom: FirmwareManifest;
}

export interface TargetsContent {
  readonly version: number;
  readonly expiresAt: number;
  /** By the name of the target. */
  readonly targets: Readonly<Record<string, TargetContent>>;
  readonly delegations: readonly Delegation[];
}

/** Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS when nobody would take it. */
export const signRoot = (content: RootContent, keys: readonly RoleKey[]): MetadataFile => {
  const file = signed('root', content.version, rootJson(content), keys);
  readRoot(file);
  return file;
};

/** `role` is `targets` or a delegated one. Errors: as `signRoot`. */
export const signTargets = (
  role: string,
  content: TargetsContent,
  keys: readonly RoleKey[],
): MetadataFile => {
  const file = signed(role, content.version, targetsJson(content), keys);
  readTargets(file);
  return file;
};

/** The same file with one more signature, or that key's signature made anew. */
export const addSignature = (file: MetadataFile, key: RoleKey): MetadataFile => {
  const { signatures, signed: json }: { signatures: SignatureJson[]; signed: object } = JSON.parse(
    file.signed,
  );
  const others = signatures.filter(({ keyid }) => keyid !== key.id);
  return {
    ...file,
    signed: canonicalJson({
      signatures: [...others, { keyid: key.id, sig: signWith(key, json) }],
      signed: json,
    }),
  };
};

interface SignatureJson {
  readonly keyid: string;
  readonly sig: string;
}

const signed = (
  role: string,
  version: number,
  json: object,
  keys: readonly RoleKey[],
): MetadataFile => ({
  role,
  version,
  signed: canonicalJson({
    signatures: keys.map((key) => ({ keyid: key.id, sig: signWith(key, json) })),
    signed: json,
  }),
});

const specVersion = '1.0.31';

const rootJson = ({ version, expiresAt, root, targets }: RootContent): object => ({
  _type: 'root',
  spec_version: specVersion,
  version,
  expires: moment(expiresAt),
  consistent_snapshot: true,
  keys: keysJson([...root.keys, ...targets.keys]),
  roles: {
    root: holdersJson(root),
    targets: holdersJson(targets),
    // TUF wants them named; nobody can sign as them (decisions/0004).
    ...Object.fromEntries(placeRoles.map((name) => [name, { keyids: [], threshold: 1 }])),
  },
});

const targetsJson = ({ version, expiresAt, targets, delegations }: TargetsContent): object => ({
  _type: 'targets',
  spec_version: specVersion,
  version,
  expires: moment(expiresAt),
  targets,
  ...(delegations.length === 0
    ? {}
    : {
        delegations: {
          keys: keysJson(delegations.flatMap(({ keys }) => keys)),
          roles: delegations.map((role) => ({
            name: role.name,
            paths: role.paths,
            terminating: role.terminating,
            ...holdersJson(role),
          })),
        },
      }),
});

const keysJson = (keys: readonly PublicRoleKey[]): object =>
  Object.fromEntries(keys.map((key) => [roleKeyId(key), key]));

const holdersJson = ({ keys, threshold }: KeyHolders): object => ({
  keyids: keys.map(roleKeyId),
  threshold,
});

const moment = (epochMs: number): string => `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
