/** `holdfast login`: takes the code that the control plane, or a gateway at its enrolment, printed once. */
import type { Command } from 'commander';
import { parseAddress } from '../../pki/claim-code.js';
import { fetchRoot } from '../../pki/first-contact.js';
import { parseLoginCode } from '../../pki/login-code.js';
import type { CommandContext } from '../context.js';
import { writeProfile } from '../profile.js';

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
      await writeProfile(dataDirectory, login.kind, {
        address: login.address,
        root_pem: root.pem,
        token: login.token,
      });
      terminal.json({ kind: login.kind, address: login.address });
      terminal.line(`${terminal.paint('green', '✓')} logged in to ${login.address}`);
      terminal.line(`  next: holdfast ${login.kind === 'gateway' ? '--gateway ' : ''}status`);
    });
};
