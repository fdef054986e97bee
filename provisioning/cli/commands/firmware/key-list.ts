/** `keys list`: every role as it is signed now. Needs no passphrase. */
import { roleKeyId } from '../../../firmware/role-key.js';
import type { KeyHolders } from '../../../firmware/write-metadata.js';
import type { CommandContext } from '../../context.js';
import { day, expiryOf } from './show-signed.js';
import { openSigning, type SigningOptions } from './signing-options.js';

const dayMs = 86_400_000;
/** A role that expires within so long is shown in yellow: renewing roots takes several people. */
const soonMs = 30 * dayMs;

export const listKeys = async (context: CommandContext, options: SigningOptions): Promise<void> => {
  const { terminal, now } = context;
  const { desk } = await openSigning(context, options);
  const { root } = desk;
  const delegations = desk.targets().delegations;
  const row = (role: string, { keys, threshold }: KeyHolders, paths: readonly string[]) => {
    const file = desk.files.filter((each) => each.role === role).at(-1);
    return {
      role,
      paths,
      threshold,
      keys: keys.map((key) => {
        const id = roleKeyId(key);
        return { name: desk.nameOf(id), id, held: desk.isHeld(id) };
      }),
      version: file?.version,
      expires_at: file === undefined ? undefined : expiryOf(file),
      missing_signatures: file === undefined ? undefined : desk.missing(file),
    };
  };
  const rows = [
    row('root', root.root, []),
    row('targets', root.targets, []),
    ...delegations.map((each) => row(each.name, each, each.paths)),
  ];
  terminal.table(
    rows,
    [
      { title: 'ROLE', value: (each) => each.role },
      { title: 'SIGNS', value: ({ role, paths }) => what(role, paths) },
      {
        title: 'KEYS',
        value: ({ keys }) =>
          keys.map(({ name, held }) => `${name}${held ? '' : ' (elsewhere)'}`).join(', '),
      },
      { title: 'MUST SIGN', value: ({ threshold, keys }) => `${threshold} of ${keys.length}` },
      { title: 'VERSION', value: (each) => each.version },
      {
        title: 'HOLDS UNTIL',
        value: ({ expires_at }) =>
          expires_at === undefined
            ? undefined
            : `${day(expires_at)}${expires_at <= now() ? ' (expired)' : ''}`,
        colour: ({ expires_at = 0 }) => {
          if (expires_at <= now()) return 'red';
          return expires_at <= now() + soonMs ? 'yellow' : undefined;
        },
      },
      {
        title: 'MISSING',
        value: ({ missing_signatures: count }) =>
          count === undefined || count === 0 ? '' : `${count} signature${count === 1 ? '' : 's'}`,
        colour: () => 'yellow',
      },
    ],
    'No roles yet: holdfast firmware keys init',
  );
};

const what = (role: string, paths: readonly string[]): string => {
  if (role === 'root') return 'who signs';
  return role === 'targets' ? 'who signs releases' : paths.join(', ');
};
