/** The beginnings of trust: `keys init`, `keys create` and `keys add`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { readPublicKey, rolePublicKey } from '../../../firmware/key-folder.js';
import { type PublicRoleKey, roleKeyId } from '../../../firmware/role-key.js';
import type { SigningDesk } from '../../../firmware/signing-desk.js';
import type { KeyHolders } from '../../../firmware/write-metadata.js';
import type { CommandContext } from '../../context.js';
import { showSigned } from './show-signed.js';
import {
  expiryIn,
  openSigning,
  type Signing,
  type SigningOptions,
  wholeNumber,
} from './signing-options.js';

export interface InitOptions extends SigningOptions {
  readonly root?: readonly string[];
  readonly rootThreshold?: string;
  readonly targets?: readonly string[];
  readonly targetsThreshold?: string;
  readonly expiresDays: string;
}

export const initKeys = async (context: CommandContext, options: InitOptions): Promise<void> => {
  const signing = await openSigning(context, options);
  const { desk } = signing;
  if (desk.files.length > 0) {
    throw new HoldfastError('RESOURCE_EXISTS', 'there is a root already', {
      data: { next: 'holdfast firmware keys list' },
    });
  }
  const { root: rootNames = ['root'], targets: targetsNames = ['targets'] } = options;
  const rootThreshold = thresholdOf(rootNames, options.rootThreshold, '--root-threshold');
  const targetsThreshold = thresholdOf(
    targetsNames,
    options.targetsThreshold,
    '--targets-threshold',
  );
  const expiresAt = expiryIn(context, options.expiresDays);
  const root = { keys: await publicKeys(signing, rootNames), threshold: rootThreshold };
  const targets = { keys: await publicKeys(signing, targetsNames), threshold: targetsThreshold };
  const signed = [
    await desk.writeRoot({ version: 1, expiresAt, root, targets }),
    await desk.writeTargets('targets', { version: 1, expiresAt, targets: {}, delegations: [] }),
  ];
  showSigned(signing, signed, {
    next: "holdfast firmware keys delegate release --paths '*/*/*'",
  });
};

export const createKey = async (
  context: CommandContext,
  name: string,
  options: SigningOptions & { readonly rsa?: boolean },
): Promise<void> => {
  const signing = await openSigning(context, options);
  if (signing.desk.keys.some((key) => key.name === name)) {
    throw new HoldfastError('RESOURCE_EXISTS', `there is a key ${name} already`);
  }
  await signing.makeKey(name, options.rsa === true ? 'rsassa-pss-sha256' : 'ed25519');
  const publicHalf = `${signing.keys.path}/${name}.pub`;
  context.terminal.json({ key: name, public: publicHalf });
  context.terminal.line(
    `${context.terminal.paint('green', '✓')} ${name}, its public half is ${publicHalf}`,
  );
};

export interface AddOptions extends SigningOptions {
  readonly role: string;
  readonly public?: string;
  readonly threshold?: string;
}

export const addKey = async (
  context: CommandContext,
  name: string,
  options: AddOptions,
): Promise<void> => {
  const signing = await openSigning(context, options);
  const { desk } = signing;
  const { role } = options;
  const isTop = role === 'root' || role === 'targets';
  const { threshold } = isTop ? desk.root[role] : delegationOf(desk, role);
  const wanted =
    options.threshold === undefined ? threshold : wholeNumber(options.threshold, '--threshold', 1);
  const key = await keyNamed(signing, name, options.public);
  const add = (holders: KeyHolders): KeyHolders => ({
    keys: [...holders.keys.filter((known) => roleKeyId(known) !== roleKeyId(key)), key],
    threshold: wanted,
  });
  const signed = isTop
    ? await desk.changeRoot((content) => ({ ...content, [role]: add(content[role]) }))
    : await desk.changeTargets('targets', (content) => ({
        ...content,
        delegations: content.delegations.map((each) =>
          each.name === role ? { ...each, ...add(each) } : each,
        ),
      }));
  // What the role has signed so far may take more signatures now.
  const lacks = role !== 'root' && desk.missing(desk.file(role)) > 0;
  const again = lacks ? [await desk.addSignatures(role)] : [];
  showSigned(signing, [signed, ...again], { next: 'holdfast firmware upload' });
};

/** Errors: RESOURCE_NOT_FOUND. */
export const delegationOf = (desk: SigningDesk, role: string) => {
  const found = desk.targets().delegations.find(({ name }) => name === role);
  if (found !== undefined) return found;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no role ${role}`, {
    data: { next: `holdfast firmware keys delegate ${role} --paths 'MODEL/*/*'` },
  });
};

/** The key of that name; it is made, or the public half in a file taken over, where there is none. */
export const keyNamed = async (
  { keys, desk, makeKey }: Signing,
  name: string,
  publicFile: string | undefined,
): Promise<PublicRoleKey> => {
  if (publicFile === undefined) return rolePublicKey((await makeKey(name)).publicKey);
  const publicKey = await readPublicKey(publicFile);
  const key = rolePublicKey(publicKey);
  await keys.addPublic(name, publicKey);
  await desk.readAgain();
  return key;
};

const publicKeys = async (signing: Signing, names: readonly string[]): Promise<PublicRoleKey[]> => {
  const keys: PublicRoleKey[] = [];
  for (const name of names) keys.push(await keyNamed(signing, name, undefined));
  return keys;
};

/** One of one key; of several, nobody may guess how many have to be brought together. */
const thresholdOf = (
  names: readonly string[],
  threshold: string | undefined,
  option: string,
): number => {
  const [only, ...more] = names;
  if (threshold === undefined && only !== undefined && more.length === 0) return 1;
  const count = threshold === undefined ? undefined : wholeNumber(threshold, option, 1);
  if (count !== undefined && count <= names.length) return count;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `say with ${option} how many of the ${names.length} keys must sign`,
  );
};
