/** `holdfast-device`: the agent of a Pi, the simulated devices, and what goes with them. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type ProgramContext,
  runProgram,
  unknownCommand,
} from '@holdfast/provisioning/program/run-program';
import { aborted } from '@holdfast/provisioning/time/wait';
import type * as v from 'valibot';
import { openSerialSimulator } from '../simulator/serial-simulator.js';
import { openSimulation } from '../simulator/simulate.js';
import { openSimulatedMeter } from '../simulator/simulated-meter.js';
import { openAgent } from './agent.js';
import { attachedOf } from './attached/attached-configuration.js';
import { deviceConfiguration } from './configuration.js';
import { type EnrolOptions, enrol } from './enrol.js';
import { readFirstRoot } from './first-root.js';
import { loadCredentials } from './identity.js';
import { packApp } from './update/pack-app.js';

type Context = ProgramContext<v.InferOutput<typeof deviceConfiguration>>;

const version = '0.1.0';

export const runDevice = (): Promise<never> =>
  runProgram({
    program: 'holdfast-device',
    version,
    description: 'the agent of a device, and simulated devices',
    schema: deviceConfiguration,
    commands: {
      run: 'Serve this device; what is done without a command.',
      'enroll [CODE]':
        'Make a key and have it certified by the gateway, with a code, or with the certificate of the manufacturer (--certificate, --key, --root).',
      'pack FOLDER':
        'Make an application archive of a folder with a holdfast-app.json (--out FILE).',
      simulate: 'Many simulated devices in one process (--codes FILE enrols them).',
      'serial-simulator':
        'A simulated device on a serial line (--id ID; --port PATH, or --pty LINK for a line of its own).',
      'modbus-simulator': 'A simulated energy meter that speaks Modbus TCP.',
    },
    flags: {
      certificate: {
        type: 'string',
        description: 'The chain that the device was made with, in PEM',
      },
      gateway: {
        type: 'string',
        description: 'host or host:port of the gateway (8443), where the code has none',
      },
      id: { type: 'string', description: 'The device id, where the code leaves it open' },
      json: {
        type: 'boolean',
        description: 'What enroll says as one line of JSON, at a terminal too',
      },
      key: { type: 'string', description: 'The key of that certificate, in PEM' },
      root: { type: 'string', description: "SHA-256 of the fleet's root, which no code says then" },
      codes: {
        type: 'string',
        description: 'A file with a claim code a line, alone or behind an id',
      },
      out: { type: 'string', description: 'Where the archive goes' },
      port: { type: 'string', description: 'The serial port to be on' },
      pty: { type: 'string', description: 'Where the name of a new serial line goes' },
    },
    run: (context) => {
      const [command = 'run', argument] = context.positionals;
      const work = commands.get(command);
      if (work !== undefined) return work(context, argument);
      throw new HoldfastError(
        'CONFIGURATION_INVALID',
        unknownCommand('holdfast-device', command, [...commands.keys()]),
      );
    },
  });

type Command = (context: Context, argument: string | undefined) => Promise<void>;

const run: Command = async (context) => {
  const { configuration, dataDir, log, signal } = context;
  const credentials = await loadCredentials(dataDir, log);
  const { initial } = configuration.application;
  const { root } = configuration.firmware;
  const { hardware } = configuration.device;
  const attached = attachedOf(configuration.attached);
  const agent = await openAgent(
    { credentials, log },
    {
      dataDir,
      signal,
      healthIntervalS: configuration.health.intervalS,
      askAgainMs: configuration.update.askAgainS * 1_000,
      update: configuration.update,
      jobHandlers: configuration.jobs.handlers,
      gpio: configuration.gpio,
      ...(attached !== null && { attached }),
      ...(hardware !== undefined && { hardware }),
      ...(root !== undefined && { firstRoot: await readFirstRoot(root) }),
      ...(initial !== undefined && { initialApp: resolve(initial) }),
    },
  );
  context.onClose('agent', () => agent.close());
  context.ready({});
  await aborted(signal);
};

const enroll: Command = async ({ configuration, dataDir, log, flags }, code) => {
  const { model, serialNo = hostname() } = configuration.device;
  const gateway = textOf(flags.gateway);
  const deviceId = textOf(flags.id);
  const identity = await enrol(
    { log },
    {
      dataDir,
      proof: await proofOf(code, flags),
      model,
      serialNo,
      ...(gateway !== undefined && { gateway }),
      ...(deviceId !== undefined && { deviceId }),
    },
  );
  const { deviceId: device, site, fleet } = identity;
  if (!process.stdout.isTTY || flags.json === true) {
    process.stdout.write(`${JSON.stringify({ enrolled: true, device, site, fleet })}\n`);
    return;
  }
  process.stdout.write(
    `This is now device ${device} of site ${site} (fleet ${fleet}).\n  next: holdfast-device run --data ${dataDir}\n`,
  );
};

const proofOf = async (
  code: string | undefined,
  flags: Context['flags'],
): Promise<EnrolOptions['proof']> => {
  const certificate = textOf(flags.certificate);
  if (code !== undefined && certificate !== undefined) {
    throw new HoldfastError('CONFIGURATION_INVALID', 'enroll with a CODE or with --certificate');
  }
  if (certificate === undefined) {
    return { code: needed(code, 'enroll needs a CODE, or --certificate, --key and --root') };
  }
  const root = needed(textOf(flags.root), "--certificate needs --root, the fleet's fingerprint");
  const rootSha256 = root.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(rootSha256)) {
    throw new HoldfastError('CONFIGURATION_INVALID', '--root is a SHA-256: 64 hexadecimal digits');
  }
  return {
    cert: await readPem(certificate),
    key: await readPem(needed(textOf(flags.key), '--certificate needs its --key')),
    rootSha256,
  };
};

const readPem = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HoldfastError('CONFIGURATION_INVALID', `${path} cannot be read`, { cause });
  }
};

const pack: Command = async ({ flags }, folder) => {
  const out = needed(textOf(flags.out), 'pack needs --out FILE');
  const manifest = await packApp(resolve(needed(folder, 'pack needs a FOLDER')), resolve(out));
  process.stdout.write(`${JSON.stringify({ packed: out, version: manifest.version })}\n`);
};

const simulate: Command = async (context) => {
  const { configuration, dataDir, log, signal, flags } = context;
  const { version: initialVersion, intervalS, ...simulated } = configuration.simulate;
  const codesFile = textOf(flags.codes);
  const gateway = textOf(flags.gateway);
  const simulation = await openSimulation(
    { log },
    {
      dataDir,
      ...simulated,
      initialVersion,
      telemetryIntervalS: intervalS,
      signal,
      ...(codesFile !== undefined && { codesFile }),
      ...(gateway !== undefined && { gateway }),
    },
  );
  context.onClose('simulation', () => simulation.close());
  context.ready({});
  await aborted(signal);
};

const serialSimulator: Command = async (context) => {
  const { configuration, dataDir, log, signal, flags } = context;
  const port = textOf(flags.port);
  const pty = textOf(flags.pty);
  const id = needed(textOf(flags.id), 'serial-simulator needs --id ID');
  if ((port === undefined) === (pty === undefined)) {
    throw new HoldfastError('CONFIGURATION_INVALID', 'serial-simulator needs --port or --pty');
  }
  const simulator = await openSerialSimulator(
    { log },
    {
      dataDir,
      id,
      ...configuration.serial,
      ...(port !== undefined && { port }),
      ...(pty !== undefined && { pty: resolve(pty) }),
    },
  );
  context.onClose('serial simulator', () => simulator.close());
  context.ready({});
  await aborted(signal);
};

const modbusSimulator: Command = async (context) => {
  const { configuration, signal } = context;
  const meter = await openSimulatedMeter(configuration.modbus);
  context.onClose('meter', () => meter.close());
  context.ready({ modbus: meter.port });
  await aborted(signal);
};

const commands = new Map<string, Command>([
  ['run', run],
  ['enroll', enroll],
  ['pack', pack],
  ['simulate', simulate],
  ['serial-simulator', serialSimulator],
  ['modbus-simulator', modbusSimulator],
]);

const textOf = (value: string | boolean | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

const needed = (value: string | undefined, message: string): string => {
  if (value === undefined) throw new HoldfastError('CONFIGURATION_INVALID', message);
  return value;
};
