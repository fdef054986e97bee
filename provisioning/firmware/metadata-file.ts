/**
 * A file of TUF metadata, read strictly: within its length, in the one canonical form, with keys and roles of the kinds that Holdfast
 * writes. What is let through here differs from what was signed in no byte that the signatures do not cover.
 */
import { createHash } from 'node:crypto';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { MetadataBody } from '@holdfast/protos/link/plan-documents';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { canonicalize } from '@tufjs/canonical-json';
import { type Key, Metadata, MetadataKind, type Root, type Targets } from '@tufjs/models';

/** As the plan's documents of kind `metadata` hold it. */
export type MetadataFile = MetadataBody;

/** The largest file of each kind, in UTF-8 bytes. A role with more releases than fit delegates to others. */
export const largestRootBytes = 64 * 1024;
export const largestTargetsBytes = 1024 * 1024;

/** Roles that a root names and that have no keys: the head of the plan stands in their place. */
export const placeRoles: readonly string[] = ['snapshot', 'timestamp'];

/** A delegated role, as its name stands in ids of the plan's documents. */
export const isRoleName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9_-]{0,63}$/.test(name) && !reserved.has(name);

const reserved = new Set(['root', 'targets', ...placeRoles]);

/** Id of the plan's document that holds it. */
export const metadataId = ({ role, version }: Pick<MetadataFile, 'role' | 'version'>): string =>
  role === 'root' ? `root.${version}` : role;

/** Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS. */
export const readRoot = (file: MetadataFile): Metadata<Root> => {
  const metadata = read(file, largestRootBytes, (json) =>
    Metadata.fromJSON(MetadataKind.Root, json),
  );
  const { keys, roles } = metadata.signed;
  checkKeys(file, keys);
  for (const [name, { keyIDs, threshold }] of Object.entries(roles)) {
    if (placeRoles.includes(name)) {
      if (keyIDs.length > 0) throw invalid(file, `the role ${name} has keys, and is not used here`);
      continue;
    }
    checkRole(file, name, keyIDs, threshold, keys);
  }
  return metadata;
};

/** Reads `targets` or a delegated role. Errors: FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS. */
export const readTargets = (file: MetadataFile): Metadata<Targets> => {
  const metadata = read(file, largestTargetsBytes, (json) =>
    Metadata.fromJSON(MetadataKind.Targets, json),
  );
  const { delegations } = metadata.signed;
  if (delegations === undefined) return metadata;
  if (delegations.roles === undefined || delegations.succinctRoles !== undefined) {
    throw invalid(file, 'delegations are lists of roles here');
  }
  checkKeys(file, delegations.keys);
  for (const role of Object.values(delegations.roles)) {
    if (!isRoleName(role.name)) throw invalid(file, `no role may be named "${role.name}"`);
    checkRole(file, role.name, role.keyIDs, role.threshold, delegations.keys);
    const patterns = role.paths ?? [];
    if (patterns.length === 0 || !patterns.every(isPathPattern)) {
      throw invalid(file, `the paths of the role ${role.name} are no patterns like pump/*/*`);
    }
  }
  return metadata;
};

/** Three parts, as the names of targets have, in each of which * stands for any characters and ? for one. */
export const isPathPattern = (pattern: string): boolean =>
  /^[A-Za-z0-9._+*?-]{1,128}(?:\/[A-Za-z0-9._+*?-]{1,128}){2}$/.test(pattern);

/** What a key is named by: SHA-256 of its canonical form, as TUF proposes it. */
export const keyIdOf = (key: Pick<Key, 'toJSON'>): string =>
  createHash('sha256').update(canonicalize(key.toJSON())).digest('hex');

/** Milliseconds since the epoch. */
export const expiresAt = ({ signed }: Metadata<Root> | Metadata<Targets>): number =>
  Date.parse(signed.expires);

/** One form, so that a moment is written in one way: seconds, in UTC. */
const momentForm = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/;

type Json = Parameters<typeof Metadata.fromJSON>[1];

const read = <T extends Root | Targets>(
  file: MetadataFile,
  largestBytes: number,
  parse: (json: Json) => Metadata<T>,
): Metadata<T> => {
  if (Buffer.byteLength(file.signed) > largestBytes) {
    throw new HoldfastError(
      'FIRMWARE_DATA_ENDLESS',
      `The metadata ${metadataId(file)} has more than ${largestBytes} bytes`,
    );
  }
  let metadata: Metadata<T>;
  let text: string;
  try {
    const json = JSON.parse(file.signed);
    text = canonicalJson(json);
    metadata = parse(json);
    canonicalize(metadata.signed.toJSON());
  } catch (error) {
    throw invalid(file, messageOf(error), error);
  }
  // What the models read and write again is what the signatures are checked over: nothing may be lost on the way.
  if (text !== file.signed || canonicalJson(metadata.toJSON()) !== text) {
    throw invalid(file, 'it is not written in the canonical form');
  }
  if (Object.keys(metadata.unrecognizedFields).length > 0) {
    throw invalid(file, 'there is more beside what is signed');
  }
  const { version, expires } = metadata.signed;
  if (!Number.isSafeInteger(version) || version < 1) throw invalid(file, 'its version is none');
  if (version !== file.version) throw invalid(file, `it calls itself version ${version}`);
  if (!momentForm.test(expires) || Number.isNaN(Date.parse(expires))) {
    throw invalid(file, 'it does not say when it expires');
  }
  for (const { sig } of Object.values(metadata.signatures)) {
    if (!/^[0-9a-f]{128}$/.test(sig)) throw invalid(file, 'a signature is not one of Ed25519');
  }
  return metadata;
};

/** Ed25519 alone, each key once and under its own id, so that nobody counts twice towards a threshold. */
const checkKeys = (file: MetadataFile, keys: Readonly<Record<string, Key>>): void => {
  for (const [keyId, key] of Object.entries(keys)) {
    const { keyType, scheme, keyVal, unrecognizedFields = {} } = key;
    const isPlain =
      keyType === 'ed25519' &&
      scheme === 'ed25519' &&
      /^[0-9a-f]{64}$/.test(keyVal.public ?? '') &&
      Object.keys(keyVal).length === 1 &&
      Object.keys(unrecognizedFields).length === 0;
    if (!isPlain) throw invalid(file, `the key ${keyId} is not one of Ed25519`);
    if (keyIdOf(key) !== keyId) throw invalid(file, `the key ${keyId} has the id of another`);
  }
};

const checkRole = (
  file: MetadataFile,
  name: string,
  keyIds: readonly string[],
  threshold: number,
  keys: Readonly<Record<string, Key>>,
): void => {
  if (keyIds.some((keyId) => !Object.hasOwn(keys, keyId))) {
    throw invalid(file, `the role ${name} names a key that is not there`);
  }
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > keyIds.length) {
    throw invalid(file, `the role ${name} wants ${threshold} of ${keyIds.length} keys`);
  }
};

const invalid = (file: MetadataFile, why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('FIRMWARE_METADATA_INVALID', `The metadata ${metadataId(file)}: ${why}`, {
    cause,
  });
