/** `holdfast gateway login`: signs in at the gateway one stands before, with user and password, WAN or not. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import { parseAddress } from '../../pki/claim-code.js';
import { fetchRoot } from '../../pki/first-contact.js';
import type { CommandContext } from '../context.js';
import { openGatewayClient } from '../gateway-client.js';
import { findProfile, type Profile, writeProfile } from '../profile.js';

const defaultPort = 8444;

export const addSignInCommands = (gateway: Command, context: () => CommandContext): void => {
  gateway
    .command('login [address]')
    .description('sign in at a gateway with user and password; the address is HOST or HOST:8444')
    .requiredOption('--user <name>', 'who signs in')
    .option(
      '--root <sha256>',
      "fingerprint of the fleet's root, as holdfast-gateway fingerprint prints it; needed once",
    )
    .action(async (given: string | undefined, options: { user: string; root?: string }) => {
      const { terminal, dataDirectory, readPassword, signal } = context();
      const earlier = await findProfile(dataDirectory, 'gateway');
      const address = addressOf(given, earlier);
      const root_pem = await rootOf(address, options.root, context());
      const password = await readPassword(`Password of ${options.user}`);
      const client = openGatewayClient({ address, root_pem, token: '' }, signal);
      const earlierToken = earlier?.token.startsWith('hfs_') === true ? earlier.token : undefined;
      const session = await client
        .signIn(options.user, password, earlierToken)
        .finally(() => client.close());
      await writeProfile(dataDirectory, 'gateway', { address, root_pem, token: session.token });
      const { user, role, idle_ms, lifetime_ms } = session;
      terminal.json({ address, user, role, idle_ms, lifetime_ms });
      terminal.line(`${terminal.paint('green', '✓')} signed in at ${address} as ${user}, ${role}`);
      terminal.line('  next: holdfast --gateway status');
    });

  gateway
    .command('logout')
    .description('end the session at the gateway')
    .action(async () => {
      const { terminal, gateway } = context();
      await (await gateway()).signOut();
      terminal.json({});
      terminal.line(`${terminal.paint('green', '✓')} signed out`);
    });
};

const addressOf = (given: string | undefined, earlier: Profile | undefined): string => {
  if (given === undefined) {
    if (earlier !== undefined) return earlier.address;
    throw new HoldfastError('REQUEST_INVALID', 'which gateway? Say its address');
  }
  return /:\d+$/.test(given) ? given : `${given}:${defaultPort}`;
};

/** First contact trusts nothing it was not told: a fingerprint, or the root of an earlier login. */
const rootOf = async (
  address: string,
  fingerprint: string | undefined,
  { dataDirectory, now, signal }: CommandContext,
): Promise<string> => {
  if (fingerprint !== undefined) {
    const root = fingerprint.replaceAll(':', '').toLowerCase();
    const trust = { role: 'gateway-server', root, at: now() } as const;
    return (await fetchRoot({ ...parseAddress(address), trust, signal })).pem;
  }
  const known =
    (await findProfile(dataDirectory, 'gateway')) ?? (await findProfile(dataDirectory, 'cloud'));
  if (known !== undefined) return known.root_pem;
  throw new HoldfastError('REQUEST_INVALID', 'the fleet of this gateway is not known here yet', {
    data: {
      next: 'holdfast gateway login HOST --user NAME --root SHA256; the gateway prints it: holdfast-gateway fingerprint',
    },
  });
};
