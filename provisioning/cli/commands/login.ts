/** `holdfast login`: takes the code that the control plane, or a gateway at its enrolment, printed once. */
import type { Command } from 'commander';
import { parseAddress } from '../../pki/claim-code.js';
import { fetchRoot } from '../../pki/first-contact.js';
import { parseLoginCode } from '../../pki/login-code.js';
import { openCloudClient } from '../cloud-client.js';
import type { CommandContext } from '../context.js';
import { openGatewayClient } from '../gateway-client.js';
import { type Profile, type ProfileKind, writeProfile } from '../profile.js';

export const addLoginCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('login <code>')
    .description(
      "log in to a control plane or a gateway with the code it printed; '-' reads it from standard input",
    )
    .action(async (given: string) => {
      const { terminal, dataDirectory, readStandardInput, signal, now } = context();
      const login = parseLoginCode(given === '-' ? await readStandardInput() : given);
      const root = await fetchRoot({
        ...parseAddress(login.address),
        trust: {
          role: login.kind === 'cloud' ? 'control-plane' : 'gateway-server',
          root: login.rootSha256,
          at: now(),
        },
        signal,
      });
      const profile = { address: login.address, root_pem: root.pem, token: login.token };
      await tryProfile(login.kind, profile, signal);
      await writeProfile(dataDirectory, login.kind, profile);
      terminal.json({ kind: login.kind, address: login.address });
      terminal.line(`${terminal.paint('green', '✓')} logged in to ${login.address}`);
      terminal.line(`  next: holdfast ${login.kind === 'gateway' ? '--gateway ' : ''}status`);
    });
};

/** Asks for something with it: a code that is void shall not put a login in the place of one that works. */
const tryProfile = async (
  kind: ProfileKind,
  profile: Profile,
  signal: AbortSignal,
): Promise<void> => {
  if (kind === 'gateway') {
    const gateway = openGatewayClient(profile, signal);
    await gateway.status().finally(() => gateway.close());
    return;
  }
  const cloud = openCloudClient(profile);
  await cloud
    .call(cloud.sites, cloud.sites.listSites, { pageSize: 1, pageToken: '' })
    .finally(() => cloud.close());
};
