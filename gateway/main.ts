/** `holdfast-gateway`: the gateway of a site as a program. */

import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { formatAddress } from '@holdfast/provisioning/pki/claim-code';
import { formatLoginCode } from '@holdfast/provisioning/pki/login-code';
import { hashPassword } from '@holdfast/provisioning/pki/password-hash';
import {
  type ProgramContext,
  runProgram,
  unknownCommand,
} from '@holdfast/provisioning/program/run-program';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { readProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { type GatewayConfiguration, gatewayConfiguration, tokenOf } from './configuration.js';
import { becomeOwner } from './installer/become-owner.js';
import { installerCommands, runInstaller } from './installer/installer.js';
import { startService } from './service/start-service.js';
import { appliedFile, runGateway } from './site-file/run-gateway.js';
import {
  type EnrolledGateway,
  enrollGateway,
  resetOperatorToken,
  whoseCode,
} from './trust/enroll-gateway.js';
import { openGatewayRecord } from './trust/gateway-identity.js';
import { gatewayHost } from './trust/server-certificate.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

const flags = {
  json: { type: 'boolean', description: 'What enroll says as one line of JSON, at a terminal too' },
  'login-file': {
    type: 'string',
    description: 'Write the login code that is shown once into this file (mode 0600) instead',
  },
  'dry-run': {
    type: 'boolean',
    description: 'enroll: ask the control plane of the code who it is, and leave the code unused',
  },
} as const;

type Context = ProgramContext<GatewayConfiguration>;

export const main = async (): Promise<never> => {
  const exitCode = await runInstaller({
    program: 'holdfast-gateway',
    version,
    argv: process.argv.slice(2),
    env: process.env,
  });
  if (exitCode !== undefined) {
    process.exitCode = exitCode;
    // What was written to a pipe is still on its way.
    await new Promise((resolve) => process.stdout.write('', resolve));
    process.exit(exitCode);
  }
  return runProgram({
    program: 'holdfast-gateway',
    version,
    description: 'The gateway of a site: broker, shadows, updates, firmware cache, site CA.',
    schema: gatewayConfiguration,
    commands: {
      ...installerCommands,
      run: 'Serve the site; what is done without a command.',
      'enroll CODE': 'Make the keys of this gateway and take the site that the code is for.',
      'login-code': 'Print a new login code for the local API; the one before is void.',
      'hash-password':
        'Read a password on standard input, print its hash for people.users and services.users.',
      fingerprint:
        "Print the fingerprint of the fleet's root: holdfast gateway login HOST --root takes it.",
    },
    flags,
    defaultFile: appliedFile,
    run: async (context) => {
      const [command = 'run', argument] = context.positionals;
      const work = commands.get(command);
      if (work === undefined) {
        throw new HoldfastError(
          'CONFIGURATION_INVALID',
          unknownCommand('holdfast-gateway', command, [
            ...commands.keys(),
            ...Object.keys(installerCommands).map((words) => words.split(' ')[0] ?? ''),
          ]),
        );
      }
      // What root enrols belongs to the user of the service.
      const becomeSelf = becomeOwner(context.dataDir);
      await work(context, argument);
      becomeSelf();
      const isDryRun = context.flags['dry-run'] === true;
      if (command === 'enroll' && !isDryRun) await startService(context.dataDir);
    },
  });
};

type Command = (context: Context, argument: string | undefined) => Promise<void>;

const run: Command = async (context) => {
  await runGateway(context, { version, argv: process.argv.slice(2), env: process.env, flags });
};

const enroll: Command = async (context, code) => {
  const { configuration, dataDir, log, signal } = context;
  if (code === undefined) {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      'enroll needs a CODE: holdfast gateway code SITE',
    );
  }
  const via = await readProxy(context.configuration.link);
  if (context.flags['dry-run'] === true) {
    const found = await whoseCode({ code, signal, via });
    process.stdout.write(`${JSON.stringify({ enrolled: false, ...found })}\n`);
    return;
  }
  const enrolled = await enrollGateway(
    { clock: systemClock(), log },
    { code, dataDirectory: dataDir, token: tokenOf(configuration), version, signal, via },
  );
  const { site, fleet, gateway_id, epoch } = enrolled.record;
  process.stdout.write(
    process.stdout.isTTY && context.flags.json !== true
      ? `This is now gateway ${gateway_id} of site ${site} (fleet ${fleet}, epoch ${epoch}).\n`
      : `${JSON.stringify({ enrolled: true, site, fleet, gateway_id, epoch })}\n`,
  );
  await showLogin(context, enrolled);
};

const loginCode: Command = async (context) => {
  await showLogin(context, await resetOperatorToken(context.dataDir, context.log));
};

const hash: Command = async () => {
  const password = (await text(process.stdin)).replace(/\r?\n$/, '');
  process.stdout.write(`${await hashPassword(password)}\n`);
};

/** What somebody needs besides the address to sign in the first time; no secret. */
const fingerprint: Command = async ({ dataDir, log }) => {
  const { data: record } = await openGatewayRecord(dataDir, log);
  if (record === null) {
    throw new HoldfastError('GATEWAY_NOT_ENROLLED', `${dataDir} holds no gateway yet`);
  }
  process.stdout.write(`${parseCertificate(record.root_certificate).sha256}\n`);
};

const commands = new Map<string, Command>([
  ['run', run],
  ['enroll', enroll],
  ['login-code', loginCode],
  ['hash-password', hash],
  ['fingerprint', fingerprint],
]);

const showLogin = async (
  { configuration, flags: given }: Context,
  { operatorToken, rootSha256 }: EnrolledGateway,
): Promise<void> => {
  const host = gatewayHost(configuration);
  const login = formatLoginCode({
    kind: 'gateway',
    address: formatAddress({ host, port: configuration.listen.consolePort }),
    token: operatorToken,
    rootSha256,
  });
  const file = given['login-file'];
  if (typeof file === 'string') await writeFile(file, `${login}\n`, { mode: 0o600 });
  else {
    // For the person in front of it, so not a line of the log, which is kept and shipped.
    process.stderr.write(
      `\nThis is shown once. To use this gateway while it runs:\n\n  holdfast login ${login}\n\n`,
    );
  }
};
