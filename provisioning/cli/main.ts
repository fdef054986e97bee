/** `holdfast`: what admins, installers and technicians type. It speaks to the control plane or, with --gateway, to the gateway. */
import { createRequire } from 'node:module';
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { Command, CommanderError } from 'commander';
import type { CloudClient } from './cloud-client.js';
import type { CommandContext } from './context.js';
import { readPassword } from './password-prompt.js';
import { readProfile } from './profile.js';
import { Terminal } from './terminal.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** Exit code for a command line that is wrong (sysexits.h EX_USAGE). */
const usageExitCode = 64;

/** Runs one command line and gives the exit code. */
export const runCli = async (argv: readonly string[]): Promise<number> => {
  // A reader that has enough, as `head`, goes before the rest is written.
  process.stdout.on('error', () => undefined);
  // Alone: what is said of the whole program is taken anywhere in the line, and firmware has a version too.
  if (argv[0] === '--version') {
    process.stdout.write(`holdfast ${version}\n`);
    return 0;
  }
  const program = new Command('holdfast')
    .description('Devices of sites whose network cannot be trusted.')
    .addHelpText('after', '\nholdfast --version shows the version.')
    .option('--json', 'one line of JSON instead of tables')
    .option('--gateway', 'ask the gateway on site instead of the control plane')
    .option('--data <directory>', 'where the logins are kept', '.holdfast/cli')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(holdfast help COMMAND shows what it takes)')
    .exitOverride();
  // Programs get what is wrong with a command line as JSON, below.
  const isForProgram = argv.includes('--json');
  if (isForProgram) program.configureOutput({ writeErr: () => undefined });
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt);
  const opened: { close(): void }[] = [];
  const context = (): CommandContext => contextOf(program, argv, interrupted.signal, opened);
  try {
    for (const add of await commandsOf(argv)) add(program, context);
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (isForProgram) showUsageError(error);
      return usageExitCode;
    }
    showError(program, error);
    return 1;
  } finally {
    process.off('SIGINT', interrupt);
    for (const client of opened) client.close();
  }
};

type AddCommands = (program: Command, context: () => CommandContext) => void;

/** The first words of command lines, and what they need: loading all of it takes longer than most commands do, on a Pi by seconds. */
const commandGroups: Readonly<Record<string, () => Promise<AddCommands>>> = {
  login: async () => (await import('./commands/login.js')).addLoginCommand,
  status: async () => (await import('./commands/status.js')).addStatusCommand,
  site: async () => (await import('./commands/sites.js')).addSiteCommands,
  gateway: async () => (await import('./commands/gateways.js')).addGatewayCommands,
  device: async () => (await import('./commands/devices.js')).addDeviceCommands,
  manufacturer: async () => (await import('./commands/manufacturers.js')).addManufacturerCommands,
  shadow: async () => (await import('./commands/shadow/shadow-commands.js')).addShadowCommands,
  firmware: async () =>
    (await import('./commands/firmware/firmware-commands.js')).addFirmwareCommands,
  campaign: async () =>
    (await import('./commands/campaign/campaign-commands.js')).addCampaignCommands,
  job: async () => (await import('./commands/campaign/campaign-commands.js')).addJobCommands,
  group: async () => (await import('./commands/groups.js')).addGroupCommands,
  stop: async () => (await import('./commands/emergency.js')).addStopCommand,
  lift: async () => (await import('./commands/emergency.js')).addLiftCommand,
  stops: async () => (await import('./commands/emergency.js')).addStopsCommand,
  audit: async () => (await import('./commands/audit.js')).addAuditCommands,
  command: async () => (await import('./commands/device-requests.js')).addDeviceRequestCommands,
  serial: async () => (await import('./commands/serial/serial-commands.js')).addSerialCommands,
  clock: async () => (await import('./commands/clock.js')).addClockCommands,
  modbus: async () => (await import('./commands/modbus.js')).addModbusCommands,
  user: async () => (await import('./commands/users.js')).addUserCommands,
};

/** The groups that the line may mean; all of them where it asks for help or names none. */
const commandsOf = (argv: readonly string[]): Promise<AddCommands[]> => {
  const named = Object.keys(commandGroups).filter((name) => argv.includes(name));
  const isHelp = argv.includes('help') || named.length === 0;
  const groups = isHelp ? Object.keys(commandGroups) : named;
  return Promise.all(groups.flatMap((name) => commandGroups[name]?.() ?? []));
};

interface GlobalOptions {
  readonly json?: boolean;
  readonly gateway?: boolean;
  readonly data: string;
}

const contextOf = (
  program: Command,
  argv: readonly string[],
  signal: AbortSignal,
  opened: { close(): void }[],
): CommandContext => {
  const options = program.opts<GlobalOptions>();
  const keep = <T extends { close(): void }>(client: T): T => {
    opened.push(client);
    return client;
  };
  let cloud: Promise<CloudClient> | undefined;
  return {
    terminal: terminalOf(program),
    now: Date.now,
    asksGateway: options.gateway === true,
    signal,
    argv,
    dataDirectory: options.data,
    async cloud() {
      if (options.gateway === true) {
        throw new HoldfastError(
          'REQUEST_INVALID',
          'only the control plane can do this: leave --gateway out',
        );
      }
      cloud ??= (async () => {
        const { openCloudClient } = await import('./cloud-client.js');
        return keep(openCloudClient(await readProfile(options.data, 'cloud')));
      })();
      return cloud;
    },
    async gateway() {
      const { openGatewayClient } = await import('./gateway-client.js');
      return keep(openGatewayClient(await readProfile(options.data, 'gateway'), signal));
    },
    readPassword: (prompt) => readPassword(prompt, signal),
    async readStandardInput() {
      let text = '';
      for await (const chunk of process.stdin) text += chunk;
      return text;
    },
  };
};

const terminalOf = (program: Command): Terminal =>
  new Terminal({
    out: process.stdout,
    error: process.stderr,
    isJson: program.opts<GlobalOptions>().json === true,
    environment: process.env,
  });

/** What to do next where the other end did not say. */
const nextSteps: Partial<Record<ErrorCode, string>> = {
  CONNECTION_FAILED:
    'see that it runs and can be reached from here; on the gateway itself, holdfast gateway doctor tells what is in the way',
  NOT_AUTHORISED:
    'ask somebody with the role for it, or sign in as somebody else: holdfast gateway login',
  NOT_AUTHENTICATED:
    'log in with a new code: holdfast-cloud --new-login draws one, on a gateway holdfast-gateway login-code',
};

const showUsageError = ({ code, message }: CommanderError): void => {
  const data = { next: 'holdfast help COMMAND shows what it takes' };
  const said = code === 'commander.help' ? 'a command is missing' : message;
  const shape = { code: 'REQUEST_INVALID', message: said.replace(/^error: /, ''), data };
  process.stderr.write(`${JSON.stringify({ error: shape })}\n`);
};

const showError = (program: Command, error: unknown): void => {
  const known: HoldfastError | undefined = isHoldfastError(error) ? error : undefined;
  const next = known?.data.next ?? (known && nextSteps[known.code]);
  if (program.opts<GlobalOptions>().json === true) {
    const shape = known?.toJSON() ?? { code: 'INTERNAL', message: messageOf(error), data: {} };
    if (next !== undefined) shape.data = { ...shape.data, next };
    process.stderr.write(`${JSON.stringify({ error: shape })}\n`);
    return;
  }
  const terminal = terminalOf(program);
  const text = known?.message ?? messageOf(error);
  process.stderr.write(`${terminal.paint('red', '✗')} ${text}\n`);
  if (typeof next === 'string') process.stderr.write(`  next: ${next}\n`);
  process.stderr.write(`${terminal.paint('dim', `  ${known?.code ?? 'INTERNAL'}`)}\n`);
};
