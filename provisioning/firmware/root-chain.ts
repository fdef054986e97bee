/** From the root that is trusted to the newest one: each is signed by as many keys as the one before it and as it itself demand. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Metadata, Root } from '@tufjs/models';
import { type MetadataFile, metadataId, readRoot } from './metadata-file.js';
import { checkSignatures, type SigningRole } from './role-signatures.js';
import { rootFileOf, type TrustedState, trustRoot } from './trusted-state.js';

/** No chain is longer; it bounds the work that a stranger's files can ask for. */
const longestChain = 1024;

export interface VerifiedRoot {
  readonly file: MetadataFile;
  readonly metadata: Metadata<Root>;
}

/**
 * The newest root that the chain leads to. `trusted` null trusts the first of the files.
 * Errors: FIRMWARE_METADATA_MISSING, FIRMWARE_METADATA_INVALID, FIRMWARE_DATA_ENDLESS, FIRMWARE_MIX_AND_MATCH, FIRMWARE_ROLLBACK,
 * FIRMWARE_SIGNATURE_INVALID, FIRMWARE_THRESHOLD_NOT_MET.
 */
export const followRoots = (
  trusted: TrustedState | null,
  files: readonly MetadataFile[],
): VerifiedRoot => {
  const roots = files.filter(({ role }) => role === 'root').sort((a, b) => a.version - b.version);
  if (roots.length > longestChain) {
    throw new HoldfastError('FIRMWARE_DATA_ENDLESS', `There are more than ${longestChain} roots`);
  }
  const [first] = roots;
  if (first === undefined) {
    throw new HoldfastError('FIRMWARE_METADATA_MISSING', 'There is no root among the metadata');
  }
  const start = rootFileOf(trusted ?? trustRoot(first));
  let at: VerifiedRoot = { file: start, metadata: readRoot(start) };
  checkSignatures(at.metadata, rootRole(at.metadata), metadataId(start));
  const newest = roots.at(-1)?.version ?? 0;
  if (newest < start.version) {
    throw new HoldfastError(
      'FIRMWARE_ROLLBACK',
      `The newest root is ${newest}, and root ${start.version} is trusted already`,
    );
  }
  for (const file of roots) {
    if (file.version < at.file.version) continue;
    at = file.version === at.file.version ? same(at, file) : step(at, file);
  }
  return at;
};

/** Who signs as root, or as another role, by what a root says. */
export const roleOfRoot = ({ signed }: Metadata<Root>, name: 'root' | 'targets'): SigningRole => {
  const role = signed.roles[name];
  return {
    name,
    keyIds: role?.keyIDs ?? [],
    threshold: role?.threshold ?? Number.POSITIVE_INFINITY,
    keys: signed.keys,
  };
};

const rootRole = (metadata: Metadata<Root>): SigningRole => roleOfRoot(metadata, 'root');

const same = (at: VerifiedRoot, file: MetadataFile): VerifiedRoot => {
  if (file.signed === at.file.signed) return at;
  throw new HoldfastError(
    'FIRMWARE_MIX_AND_MATCH',
    `This root ${file.version} is another one than the root ${file.version} that is trusted`,
  );
};

const step = (at: VerifiedRoot, file: MetadataFile): VerifiedRoot => {
  if (file.version !== at.file.version + 1) {
    throw new HoldfastError(
      'FIRMWARE_METADATA_MISSING',
      `Between root ${at.file.version} and root ${file.version} there is one missing`,
    );
  }
  const metadata = readRoot(file);
  const what = metadataId(file);
  const [before, after] = [rootRole(at.metadata), rootRole(metadata)];
  checkSignatures(metadata, before, what);
  checkSignatures(metadata, after, what);
  const signers = new Set([...before.keyIds, ...after.keyIds]);
  const stranger = Object.keys(metadata.signatures).find((keyId) => !signers.has(keyId));
  if (stranger !== undefined) {
    throw new HoldfastError(
      'FIRMWARE_SIGNATURE_INVALID',
      `The metadata ${what} has a signature of the key ${stranger.slice(0, 12)}…, which is of no root`,
    );
  }
  return { file, metadata };
};
