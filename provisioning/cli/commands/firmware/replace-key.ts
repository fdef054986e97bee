/** Takes a key out of every role it signs for, with or without a new one in its place. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { rolePublicKey } from '../../../firmware/key-folder.js';
import { type PublicRoleKey, roleKeyId } from '../../../firmware/role-key.js';
import type { SignedFile } from '../../../firmware/signing-desk.js';
import type { KeyHolders } from '../../../firmware/write-metadata.js';
import type { Signing } from './signing-options.js';

/**
 * What the key has signed is signed anew by the others and the new one. The old key itself still signs the root that takes it out, and is
 * put aside afterwards. Errors: RESOURCE_NOT_FOUND, FIRMWARE_THRESHOLD_NOT_MET when too few keys would be left.
 */
export const replaceKey = async (
  { context, desk, keys, makeKey }: Signing,
  name: string,
  how: 'rotate' | 'remove',
): Promise<SignedFile[]> => {
  const old = desk.key(name);
  const oldId = roleKeyId(rolePublicKey(old.publicKey));
  const { root } = desk;
  const delegations = desk.targets().delegations;
  const has = ({ keys: held }: KeyHolders) => held.some((key) => roleKeyId(key) === oldId);
  const inTop = (['root', 'targets'] as const).filter((role) => has(root[role]));
  const inDelegations = delegations.filter(has).map((each) => each.name);
  if (inTop.length + inDelegations.length === 0) {
    throw new HoldfastError('RESOURCE_NOT_FOUND', `the key ${name} signs for no role`);
  }
  const newName = how === 'rotate' ? freeName(name, desk.keys) : undefined;
  const fresh =
    newName === undefined ? undefined : rolePublicKey((await makeKey(newName)).publicKey);
  const swap = (holders: KeyHolders, role: string): KeyHolders =>
    withoutKey(holders, oldId, fresh, role);
  const signed: SignedFile[] = [];
  if (inTop.length > 0) {
    signed.push(
      await desk.changeRoot((content) => ({
        ...content,
        ...Object.fromEntries(inTop.map((role) => [role, swap(content[role], role)])),
      })),
    );
  }
  if (inDelegations.length > 0 || inTop.includes('targets')) {
    signed.push(
      await desk.changeTargets('targets', (content) => ({
        ...content,
        delegations: content.delegations.map((each) =>
          inDelegations.includes(each.name) ? { ...each, ...swap(each, each.name) } : each,
        ),
      })),
    );
  }
  for (const role of inDelegations) {
    signed.push(await desk.changeTargets(role, (content) => content));
  }
  await keys.retire(old, context.now());
  return signed;
};

const withoutKey = (
  { keys, threshold }: KeyHolders,
  oldId: string,
  fresh: PublicRoleKey | undefined,
  role: string,
): KeyHolders => {
  const others = keys.filter((key) => roleKeyId(key) !== oldId);
  const left = fresh === undefined ? others : [...others, fresh];
  if (left.length >= threshold) return { keys: left, threshold };
  throw new HoldfastError(
    'FIRMWARE_THRESHOLD_NOT_MET',
    `${role} takes ${threshold} signatures, and ${left.length} keys would be left`,
    { data: { next: `holdfast firmware keys add NAME --role ${role}` } },
  );
};

/** `root` becomes `root-2`, that `root-3`. */
const freeName = (name: string, taken: readonly { readonly name: string }[]): string => {
  const [, stem = name, count = '1'] = /^(.*?)-(\d+)$/.exec(name) ?? [];
  let number = Number(count) + 1;
  while (taken.some((key) => key.name === `${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
};
