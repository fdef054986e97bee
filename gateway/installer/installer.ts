/**
 * The commands of the person who sets a gateway up, typed on the gateway's own machine: `doctor`, `plan` and `apply`. Each takes
 * `--json`, and says on every error what to do next.
 */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { Terminal } from '@holdfast/provisioning/cli/terminal';
import {
  type LoadOptions,
  loadConfiguration,
  type ProgramFlag,
  readCommandLine,
  readConfiguration,
} from '@holdfast/provisioning/program/configuration';
import { type FileText, readFileText } from '@holdfast/provisioning/program/configuration-file';
import { exitCodes } from '@holdfast/provisioning/program/run-program';
import { gatewayConfiguration } from '../configuration.js';
import { examine, examineMachine } from '../doctor/doctor.js';
import { exitCodeOf, type Finding, findingsOf } from '../doctor/finding.js';
import { findUser } from '../doctor/service-user.js';
import { installService } from '../service/install-service.js';
import { applySiteFile } from '../site-file/apply.js';
import { planSiteFile } from '../site-file/plan.js';
import { appliedFile } from '../site-file/run-gateway.js';
import { becomeOwner } from './become-owner.js';
import { showChanges, showFindings, showOverridden, showPlan, sumOf } from './show.js';

export const installerFlags = {
  json: { type: 'boolean', description: 'One line of JSON instead of text' },
  'dry-run': { type: 'boolean', description: 'Show what would be done, and do nothing' },
  code: {
    type: 'string',
    description: 'doctor: the code that is to be used, to look where it leads',
  },
} as const satisfies Record<string, ProgramFlag>;

/** What they do, for --help. */
export const installerCommands: Readonly<Record<string, string>> = {
  doctor:
    'Look at network, clock, disk, ports, serial lines and certificates; 0 well, 1 warnings, 2 failures.',
  'plan [FILE]': 'Show what a site file would change, what drifted, and what the machine lacks.',
  'apply [FILE]':
    'Make a site file the configuration; goes back if the gateway is not healthy with it.',
};

export interface InstallerContext {
  readonly terminal: Terminal;
  readonly columns: number;
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly dataDir: string;
  /** After the command. */
  readonly arguments: readonly string[];
  readonly options: LoadOptions;
  readonly version: string;
}

type InstallerCommand = (context: InstallerContext) => Promise<number>;

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Where the Debian package keeps the installer's file. */
const installedFile = '/etc/holdfast/site.yaml';
/** Where systemd makes the folder of a service's state. */
const installedData = '/var/lib/holdfast';
/** The user of the service, where it is installed. */
const serviceUserName = 'holdfast';

/** Runs one command line; undefined when it is none of these commands. */
export const runInstaller = async (
  commandLine: LoadOptions & { readonly version: string },
): Promise<number | undefined> => {
  const [name = ''] = commandLine.argv;
  const command = commands.get(name);
  if (command === undefined) return undefined;
  // A reader that has enough, as `head`, goes before the rest is written.
  process.stdout.on('error', () => undefined);
  const options = { ...commandLine, flags: { ...commandLine.flags, ...installerFlags } };
  const terminal = new Terminal({
    out: process.stdout,
    error: process.stderr,
    isJson: commandLine.argv.includes('--json'),
    environment: commandLine.env,
  });
  try {
    const { flags, dataDir, positionals } = readCommandLine(gatewayConfiguration, options);
    return await command({
      terminal,
      columns: process.stdout.columns ?? 80,
      flags,
      dataDir,
      arguments: positionals.slice(1),
      options,
      version: commandLine.version,
    });
  } catch (error) {
    const exitCode = showError(terminal, error);
    // Its other codes say how the machine is.
    return name === 'doctor' ? 2 : exitCode;
  }
};

const doctor: InstallerCommand = async ({ terminal, columns, flags, dataDir, options }) => {
  const { configuration, problem } = await loadOrDefaults(options);
  const serviceUser = process.geteuid?.() === 0 ? await findUser(serviceUserName) : undefined;
  const code = typeof flags.code === 'string' ? flags.code : undefined;
  const findings = [
    ...problem,
    ...(await examine(
      { log: quiet },
      {
        configuration,
        dataDir,
        code,
        serviceUser: serviceUser?.name,
        environmentProxy: proxyOf(options.env),
        builtMs: 0,
      },
    )),
  ];
  const exitCode = exitCodeOf(findings);
  terminal.json({ severity: (['ok', 'warning', 'failure'] as const)[exitCode], findings });
  showFindings(terminal, findings, columns);
  terminal.line();
  terminal.line(terminal.paint('bold', sumOf(findings)));
  return exitCode;
};

const plan: InstallerCommand = async ({ terminal, dataDir, arguments: [path] }) => {
  const file = await siteFile(path);
  const planned = await planSiteFile(
    { log: quiet, examine: (configuration) => examineFor(configuration, dataDir) },
    { file, dataDir },
  );
  terminal.json(planned);
  showPlan(terminal, planned);
  return exitCodes.ok;
};

const apply: InstallerCommand = async ({ terminal, flags, dataDir, arguments: [path] }) => {
  const file = await siteFile(path);
  const by = process.env.SUDO_USER ?? userInfo().username;
  becomeOwner(dataDir);
  const isDryRun = flags['dry-run'] === true;
  const applied = await applySiteFile({ log: quiet }, { file, dataDir, by, isDryRun });
  terminal.json(applied);
  showChanges(terminal, applied.changes);
  showOverridden(terminal, applied.overridden);
  const tick = terminal.paint('green', '✓');
  terminal.line(
    {
      unchanged: `${tick} nothing to change: revision ${applied.revision} says the same`,
      would_change: 'Nothing was done (--dry-run).',
      confirmed: `${tick} revision ${applied.revision}: the gateway is healthy with it${applied.overridden.length === 0 ? '' : ', but for what is overridden'}`,
      waits: `${tick} revision ${applied.revision} is taken at the next start of the gateway: it does not run`,
    }[applied.result],
  );
  return exitCodes.ok;
};

const install: InstallerCommand = async ({ terminal, flags, options }) => {
  const isDryRun = flags['dry-run'] === true;
  const { configuration } = await loadConfiguration(gatewayConfiguration, {
    ...options,
    argv: ['run', ...options.argv.slice(1)],
    defaultFile: (dataDir) => appliedFile(dataDir, 'install-service'),
  });
  const { values } = readCommandLine(gatewayConfiguration, options);
  const installed = await installService(
    { isRoot: process.geteuid?.() === 0 },
    {
      configuration,
      command: [process.execPath, process.argv[1] ?? ''],
      dataDir: typeof values.data === 'string' ? resolve(values.data) : installedData,
      user: serviceUserName,
      isDryRun,
    },
  );
  terminal.json(installed);
  if (isDryRun) {
    terminal.line(installed.unit);
    terminal.line(terminal.paint('bold', 'Would be done (--dry-run):'));
  }
  for (const step of installed.steps) {
    terminal.line(`  ${isDryRun ? '·' : terminal.paint('green', '✓')} ${step}`);
  }
  return exitCodes.ok;
};

const commands = new Map<string, InstallerCommand>([
  ['doctor', doctor],
  ['plan', plan],
  ['apply', apply],
  ['install-service', install],
]);

const examineFor = async (
  configuration: Parameters<typeof examineMachine>[1]['configuration'],
  dataDir: string,
): Promise<Finding[]> => {
  const user = process.geteuid?.() === 0 ? await findUser(serviceUserName) : undefined;
  return examineMachine({ log: quiet }, { configuration, dataDir, serviceUser: user?.name });
};

/** What is wrong with the configuration is a finding, and the machine is looked at all the same. */
const loadOrDefaults = async (options: LoadOptions) => {
  try {
    const { configuration } = await loadConfiguration(gatewayConfiguration, {
      ...options,
      defaultFile: (dataDir) => appliedFile(dataDir, 'doctor'),
    });
    return { configuration, problem: [] };
  } catch (error) {
    const { failure } = findingsOf('configuration');
    const problem = messageOf(error)
      .split('\n')
      .map((line) => failure(line, 'mend it, then: holdfast site plan'));
    return {
      configuration: readConfiguration(gatewayConfiguration, { name: '', text: '' }),
      problem,
    };
  }
};

const siteFile = (path: string | undefined): Promise<FileText> => {
  const found = path ?? ['site.yaml', installedFile].find((candidate) => existsSync(candidate));
  if (found !== undefined && existsSync(found)) return readFileText(found);
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    found === undefined
      ? `there is no site.yaml here, and no ${installedFile}`
      : `there is no file ${found}`,
    {
      data: { next: 'name the file: holdfast site plan FILE' },
    },
  );
};

const proxyOf = (env: LoadOptions['env']): string | undefined => {
  const proxy = env.https_proxy ?? env.HTTPS_PROXY ?? env.http_proxy ?? env.HTTP_PROXY;
  // A password in it is not for the screen.
  return proxy?.replace(/\/\/[^@/]*@/, '//');
};

const showError = (terminal: Terminal, error: unknown): number => {
  const known = isHoldfastError(error) ? error : undefined;
  const next = known?.data.next ?? nextSteps[known?.code ?? ''];
  const message = messageOf(error);
  if (terminal.isJson) {
    const code = known?.code ?? 'INTERNAL';
    const shape = { code, message, data: { ...known?.data, ...(next !== undefined && { next }) } };
    process.stderr.write(`${JSON.stringify({ error: shape })}\n`);
  } else {
    const [first = '', ...more] = message.split('\n');
    process.stderr.write(`${terminal.paint('red', '✗')} ${first}\n`);
    for (const line of more) process.stderr.write(`  ${line}\n`);
    if (typeof next === 'string') process.stderr.write(`  next: ${next}\n`);
    process.stderr.write(`${terminal.paint('dim', `  ${known?.code ?? 'INTERNAL'}`)}\n`);
  }
  return known?.code === 'CONFIGURATION_INVALID' ? exitCodes.configuration : exitCodes.failed;
};

const nextSteps: Readonly<Record<string, string>> = {
  CONFIGURATION_INVALID: 'mend the lines above; every setting stands in CONFIGURATION.md',
  CLAIM_CODE_INVALID: 'copy the whole code again, or get a new one: holdfast gateway code SITE',
  STORE_UNAVAILABLE: 'run this as the user of the gateway, or with sudo',
  STORE_IN_USE: 'try again in a moment',
};
