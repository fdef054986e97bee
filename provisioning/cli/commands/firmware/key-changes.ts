/** Changes of who may sign: `keys delegate`, `rotate`, `remove`, `renew`, `sign` and `sign-root`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import { isPathPattern, isRoleName } from '../../../firmware/metadata-file.js';
import { roleKeyId } from '../../../firmware/role-key.js';
import type { SignedFile } from '../../../firmware/signing-desk.js';
import type { RootContent } from '../../../firmware/write-metadata.js';
import type { CommandContext } from '../../context.js';
import { delegationOf, keyNamed } from './key-beginnings.js';
import { replaceKey } from './replace-key.js';
import { showSigned } from './show-signed.js';
import {
  each,
  expiryIn,
  openSigning,
  type SigningOptions,
  wholeNumber,
  withSigningOptions,
} from './signing-options.js';

const next = 'holdfast firmware upload';

export const addKeyChanges = (keys: Command, context: () => CommandContext): void => {
  withSigningOptions(keys.command('delegate <role>'))
    .description('let a key sign the releases whose names match: MODEL/VERSION/FILE')
    .requiredOption('--paths <pattern>', "as 'pump/*/*'; may be given more than once", each)
    .option('--key <name>', 'a key of the role (default: named as the role is)', each)
    .option('--threshold <n>', 'how many of the keys must sign', '1')
    .option('--expires-days <n>', 'until when its releases hold', '365')
    .action((role: string, options: DelegateOptions) => delegate(context(), role, options));

  withSigningOptions(keys.command('rotate <name>'))
    .description('put a new key in the place of this one, wherever it signs')
    .action(async (name: string, options: SigningOptions) => {
      const signing = await openSigning(context(), options);
      showSigned(signing, await replaceKey(signing, name, 'rotate'), { next });
    });

  withSigningOptions(keys.command('remove <name>'))
    .description('let this key sign no longer, anywhere')
    .action(async (name: string, options: SigningOptions) => {
      const signing = await openSigning(context(), options);
      showSigned(signing, await replaceKey(signing, name, 'remove'), { next });
    });

  withSigningOptions(keys.command('renew [roles...]'))
    .description('let roles hold longer; without any, all whose keys are here')
    .option(
      '--expires-days <n>',
      'until when they hold from now on (default: 730 for root and targets, 365 for the others)',
    )
    .action((roles: string[], options: RenewOptions) => renew(context(), roles, options));

  withSigningOptions(keys.command('sign-root'))
    .description('add the signatures of the root keys that are here to the newest root')
    .action((options: SigningOptions) => addSignatures(context(), 'root', options));

  withSigningOptions(keys.command('sign <role>'))
    .description('add the signatures of the keys that are here to the metadata of a role')
    .action((role: string, options: SigningOptions) => addSignatures(context(), role, options));
};

interface DelegateOptions extends SigningOptions {
  readonly paths: readonly string[];
  readonly key?: readonly string[];
  readonly threshold: string;
  readonly expiresDays: string;
}

const delegate = async (
  context: CommandContext,
  role: string,
  { paths, key: names = [role], threshold, expiresDays, ...options }: DelegateOptions,
): Promise<void> => {
  if (!isRoleName(role)) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `"${role.slice(0, 200)}" cannot name a role: lower-case letters, digits, _ and -, and no name that TUF has`,
    );
  }
  const wrong = paths.find((path) => !isPathPattern(path));
  if (wrong !== undefined) {
    throw new HoldfastError('REQUEST_INVALID', `"${wrong}" is no pattern like pump/*/*`);
  }
  const signing = await openSigning(context, options);
  const { desk } = signing;
  const expiresAt = expiryIn(context, expiresDays);
  const wanted = wholeNumber(threshold, '--threshold', 1);
  if (desk.targets().delegations.some(({ name }) => name === role)) {
    throw new HoldfastError('RESOURCE_EXISTS', `there is a role ${role}`, {
      data: { next: `holdfast firmware keys add NAME --role ${role}` },
    });
  }
  const keys = [];
  for (const name of names) keys.push(await keyNamed(signing, name, undefined));
  const delegation = { name: role, paths, terminating: false, keys, threshold: wanted };
  const signed = [
    await desk.changeTargets('targets', (content) => ({
      ...content,
      delegations: [...content.delegations, delegation],
    })),
    await desk.writeTargets(role, { version: 1, expiresAt, targets: {}, delegations: [] }),
  ];
  showSigned(signing, signed, {
    next: 'holdfast firmware sign FILE --model MODEL --version VERSION',
  });
};

interface RenewOptions extends SigningOptions {
  readonly expiresDays?: string;
}

const renew = async (
  context: CommandContext,
  named: readonly string[],
  { expiresDays, ...options }: RenewOptions,
): Promise<void> => {
  const signing = await openSigning(context, options);
  const { desk } = signing;
  const expiryOf = (role: string): number =>
    expiryIn(context, expiresDays ?? (role === 'root' || role === 'targets' ? '730' : '365'));
  const all = ['root', 'targets', ...desk.targets().delegations.map(({ name }) => name)];
  const canSign = (role: string): boolean => desk.signersOf(role).some((id) => desk.isHeld(id));
  const roles = named.length > 0 ? named : all.filter(canSign);
  const signed: SignedFile[] = [];
  for (const role of roles) {
    if (role !== 'root' && role !== 'targets') delegationOf(desk, role);
    if (!canSign(role)) {
      throw new HoldfastError('NOT_AUTHORISED', `no key of ${role} is here`, {
        data: { next: 'holdfast firmware keys list shows whose keys it takes' },
      });
    }
    const expiresAt = expiryOf(role);
    signed.push(
      role === 'root'
        ? await desk.changeRoot((content) => ({ ...content, expiresAt }))
        : await desk.changeTargets(role, (content) => ({ ...content, expiresAt })),
    );
  }
  showSigned(signing, signed, { next });
};

const addSignatures = async (
  context: CommandContext,
  role: string,
  options: SigningOptions,
): Promise<void> => {
  const signing = await openSigning(context, options);
  if (role === 'root') describeRoot(signing.context, signing.desk.root);
  showSigned(signing, [await signing.desk.addSignatures(role)], { next });
};

/** Whoever signs a root sees first what he signs. */
const describeRoot = (
  { terminal }: CommandContext,
  { version, root, targets }: RootContent,
): void => {
  const say = (name: string, { keys, threshold }: typeof root) =>
    terminal.line(
      `  ${name}: ${threshold} of ${keys.length} keys: ${keys.map((key) => `${roleKeyId(key).slice(0, 12)}…`).join(', ')}`,
    );
  terminal.line(`root ${version}`);
  say('root', root);
  say('targets', targets);
};
