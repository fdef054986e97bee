/** For tests: somebody with a folder of keys, at a terminal that answers in JSON; the metadata may be in a folder that others have too. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { Terminal } from '../../terminal.js';
import { addFirmwareCommands } from './firmware-commands.js';

export interface TestSigner {
  /** Runs `holdfast firmware …`; gives its JSON. */
  run(...args: readonly string[]): Promise<Record<string, unknown>>;
  /** What was asked for at the terminal, in order. */
  readonly asked: string[];
  passphrase: string;
  now: number;
}

export const testSigner = (dataDirectory: string, metadata: string): TestSigner => {
  const signer: TestSigner = {
    asked: [],
    passphrase: 'a passphrase for tests',
    now: Date.UTC(2030, 0, 1),
    run: async (...args) => {
      let said = '';
      const out = { write: (text: string) => (said += text) };
      const offline = async (): Promise<never> => {
        throw new HoldfastError('CONNECTION_FAILED', 'there is no network here');
      };
      const context: CommandContext = {
        terminal: new Terminal({ out, error: out, isJson: true, environment: {} }),
        now: () => signer.now,
        asksGateway: false,
        cloud: offline,
        gateway: offline,
        signal: new AbortController().signal,
        argv: args,
        dataDirectory,
        readPassword: async (prompt) => {
          signer.asked.push(prompt);
          return signer.passphrase;
        },
        readStandardInput: async () => '',
      };
      const program = new Command('holdfast').exitOverride();
      addFirmwareCommands(program, () => context);
      await program.parseAsync(['firmware', ...args, '--metadata', metadata], { from: 'user' });
      return JSON.parse(said);
    },
  };
  return signer;
};
