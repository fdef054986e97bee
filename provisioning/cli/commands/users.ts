/** `holdfast user`: the people who may sign in at the gateway of a site; with --gateway those made at the gateway itself. Passwords are hashed here. */
import { randomInt } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Role, roles } from '@holdfast/protos/local/people';
import { type Command, Option } from 'commander';
import { parseCertificate } from '../../pki/certificate.js';
import { hashPassword } from '../../pki/password-hash.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { readProfile } from '../profile.js';
import { idOf } from './sites.js';

export interface UserRow {
  readonly site?: string | undefined;
  readonly user: string;
  readonly role: string;
  readonly source: string;
}

interface SiteOption {
  readonly site?: string;
}

/** How he signs in the first time. The root vouches for the gateway, and is the fleet's, whoever was asked. */
const loginOf = async (
  { asksGateway, dataDirectory }: CommandContext,
  user: string,
): Promise<string> => {
  const { address, root_pem } = await readProfile(dataDirectory, asksGateway ? 'gateway' : 'cloud');
  const host = asksGateway ? address : 'HOST';
  return `holdfast gateway login ${host} --user ${user} --root ${parseCertificate(root_pem).sha256}`;
};

export const addUserCommands = (program: Command, context: () => CommandContext): void => {
  const user = program
    .command('user')
    .description('people who may sign in at the gateway of a site');
  const siteOption = ['--site <id>', 'the site (without --gateway)'] as const;

  user
    .command('add <name>')
    .description('let somebody sign in; the password is asked for, or read from standard input')
    .option(...siteOption)
    .addOption(new Option('--role <role>', 'what he may do').choices(roles).default('technician'))
    .option('--generate', 'draw a password and print it')
    .action(async (name: string, options: SiteOption & { role: Role; generate?: boolean }) => {
      const { terminal, asksGateway, cloud, gateway } = context();
      const password = options.generate === true ? drawPassword() : await askTwice(context());
      const hash = await hashPassword(password);
      if (asksGateway) {
        await (await gateway()).addUser(name, options.role, hash);
      } else {
        const client = await cloud();
        await client.call(client.users, client.users.createUser, {
          parent: `sites/${siteOf(options)}`,
          userId: name,
          user: userMessage({ role: options.role, passwordHash: hash }),
        });
      }
      const drawn = options.generate === true ? { password } : {};
      const next = await loginOf(context(), name);
      terminal.json({ user: name, role: options.role, ...drawn, next });
      terminal.line(`${terminal.paint('green', '✓')} ${name} is a ${options.role}`);
      if (options.generate === true) terminal.line(`  password, shown once: ${password}`);
      terminal.line(`  next: ${next}`);
    });

  user
    .command('list')
    .description('everybody who may sign in')
    .option(...siteOption)
    .action(async (options: SiteOption) => {
      const { terminal, asksGateway, cloud, gateway } = context();
      const rows = asksGateway
        ? await (await gateway()).listUsers()
        : await listThroughCloud(await cloud(), options.site ?? '-');
      terminal.table(
        rows,
        [
          { title: 'USER', value: (row) => (row.site ? `${row.site}/${row.user}` : row.user) },
          { title: 'ROLE', value: (row) => row.role },
          { title: 'FROM', value: (row) => row.source },
        ],
        'Nobody yet: holdfast user add NAME --site SITE',
      );
    });

  user
    .command('remove <name>')
    .description('let somebody sign in no longer; sessions end when the gateway knows')
    .option(...siteOption)
    .action(async (name: string, options: SiteOption) => {
      const { terminal, asksGateway, cloud, gateway } = context();
      if (asksGateway) {
        await (await gateway()).removeUser(name);
      } else {
        const client = await cloud();
        const request = { name: `sites/${siteOf(options)}/users/${name}`, etag: '' };
        await client.call(client.users, client.users.deleteUser, request);
      }
      terminal.json({ user: name });
      terminal.line(`${terminal.paint('green', '✓')} ${name} is removed`);
    });

  const change = async (
    name: string,
    options: SiteOption,
    to: { readonly role?: Role; readonly passwordHash?: string },
  ): Promise<void> => {
    const { asksGateway, cloud, gateway } = context();
    if (asksGateway) {
      await (await gateway()).changeUser(name, {
        ...(to.role === undefined ? {} : { role: to.role }),
        ...(to.passwordHash === undefined ? {} : { password_hash: to.passwordHash }),
      });
      return;
    }
    const client = await cloud();
    await client.call(client.users, client.users.updateUser, {
      user: { ...userMessage(to), name: `sites/${siteOf(options)}/users/${name}` },
      updateMask: [to.role === undefined ? 'password_hash' : 'role'],
    });
  };

  user
    .command('set-role <name> <role>')
    .description(`change what somebody may do: ${roles.join(', ')}`)
    .option(...siteOption)
    .action(async (name: string, text: string, options: SiteOption) => {
      const { terminal } = context();
      const role = roles.find((one) => one === text);
      if (role === undefined) {
        throw new HoldfastError('REQUEST_INVALID', `a role is one of ${roles.join(', ')}`);
      }
      await change(name, options, { role });
      terminal.json({ user: name, role });
      terminal.line(`${terminal.paint('green', '✓')} ${name} is a ${role}`);
    });

  user
    .command('set-password <name>')
    .description('give somebody another password; his sessions end')
    .option(...siteOption)
    .action(async (name: string, options: SiteOption) => {
      const { terminal } = context();
      const passwordHash = await hashPassword(await askTwice(context()));
      await change(name, options, { passwordHash });
      terminal.json({ user: name });
      terminal.line(`${terminal.paint('green', '✓')} ${name} has another password`);
    });
};

const listThroughCloud = async (
  client: Awaited<ReturnType<CommandContext['cloud']>>,
  site: string,
): Promise<UserRow[]> => {
  const users = await collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.users, client.users.listUsers, {
        parent: `sites/${site}`,
        pageSize: 1_000,
        pageToken,
      });
      return { items: page.users, nextPageToken: page.nextPageToken };
    }),
  );
  return users.map(({ name, role }) => ({
    site: name.split('/')[1],
    user: idOf(name),
    role,
    source: 'plan',
  }));
};

const userMessage = ({
  role = '',
  passwordHash = '',
}: {
  readonly role?: string;
  readonly passwordHash?: string;
}) => ({ name: '', role, passwordHash, createTime: undefined, updateTime: undefined, etag: '' });

const siteOf = ({ site }: SiteOption): string => {
  if (site !== undefined) return site;
  throw new HoldfastError(
    'REQUEST_INVALID',
    'which site? Say --site SITE, or --gateway at the site',
  );
};

/** Where a terminal is, a slip of the finger would shut somebody out. */
const askTwice = async ({ readPassword }: CommandContext): Promise<string> => {
  const password = await readPassword('Password');
  if (process.stdin.isTTY !== true) return password;
  if ((await readPassword('Once more')) === password) return password;
  throw new HoldfastError('REQUEST_INVALID', 'the two differ');
};

/** 20 of 31 letters and digits that nobody takes for each other: 99 bits. */
const drawPassword = (): string =>
  Array.from({ length: 4 }, () =>
    Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join(''),
  ).join('-');
const letters = 'abcdefghjkmnpqrstuvwxyz23456789';
