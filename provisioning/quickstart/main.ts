/** `npm start`: a fleet on this machine to try things on; and `npm run wan WORD`, which cuts and mends its WAN. */

import { join, relative } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { Terminal } from '../cli/terminal.js';
import { LogStream } from '../program/log-stream.js';
import { createLogger } from '../program/logger.js';
import { type FolderLock, lockFolder } from '../storage/folder-lock.js';
import { makeFolder } from '../storage/make-folder.js';
import { aborted, wait } from '../time/wait.js';
import { Fleet, model } from './fleet.js';
import { meterId } from './fleet-meter.js';
import { LogFile } from './log-file.js';
import { writeSampleFirmware } from './sample-firmware.js';
import { openWanSwitch, switchWan } from './wan-switch.js';

const dataDirectory = process.env.HOLDFAST_DATA ?? '.holdfast';

const usage = `npm start                           a fleet on this machine, until Ctrl-C; it takes no options
npm run wan up|cut|stalled|state    its WAN, from another terminal
HOLDFAST_DATA=FOLDER                where it keeps everything (.holdfast)
`;

/** Runs one command line and gives the exit code. */
export const runQuickstart = async (argv: readonly string[]): Promise<number> => {
  try {
    if (argv[0] === 'wan') {
      process.stdout.write(`${await switchWan(dataDirectory, argv[1] ?? 'state')}\n`);
      return 0;
    }
    if (argv.length > 0) {
      const asked = argv[0] === '--help' || argv[0] === '-h';
      (asked ? process.stdout : process.stderr).write(usage);
      return asked ? 0 : 64;
    }
    return await serve();
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    return 1;
  }
};

const serve = async (): Promise<number> => {
  const terminal = new Terminal({
    out: process.stdout,
    error: process.stderr,
    isJson: false,
    environment: process.env,
  });
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  await makeFolder(dataDirectory, 0o700);
  const lock = await lockQuickstart(dataDirectory);
  const logPath = join(dataDirectory, 'quickstart.log');
  const logFile = new LogFile({
    path: logPath,
    onFailure: (text) => process.stderr.write(`${text}\n`),
  });
  try {
    await serveFleet(terminal, logFile, stop.signal, relative('.', logPath));
    return 0;
  } catch (error) {
    // Ctrl-C reaches the programs too, and a start that was ended by it fails in many ways.
    if (stop.signal.aborted) return 0;
    process.stderr.write(`${terminal.paint('red', '✗')} ${messageOf(error)}\n`);
    process.stderr.write(`  next: what each program said is in ${relative('.', logPath)}\n`);
    return 1;
  } finally {
    await logFile.close();
    await lock.close();
  }
};

const serveFleet = async (
  terminal: Terminal,
  logFile: LogFile,
  signal: AbortSignal,
  logName: string,
): Promise<void> => {
  const fleet = await Fleet.open({
    dataDirectory,
    agents: 1,
    simulated: 10,
    hasSerial: true,
    hasMeter: true,
    log: createLogger({ program: 'quickstart', level: 'warn', to: new LogStream({ fd: 2 }) }),
    onStep: (text) => terminal.line(`${terminal.paint('dim', '·')} ${text}`),
    onLogLine: (program, line) => logFile.write(`${program} ${line}`),
    onEnded: (name, exit) => {
      if (signal.aborted) return;
      const how = exit.signal === null ? `with exit code ${exit.code}` : `by ${exit.signal}`;
      terminal.line(`${terminal.paint('yellow', '!')} ${name} ended ${how}; starting it again …`);
      startAgain(fleet, name, signal).then(
        () => terminal.line(`${terminal.paint('green', '✓')} ${name} runs again`),
        (error: unknown) => {
          if (signal.aborted) return;
          terminal.line(`${terminal.paint('red', '✗')} ${messageOf(error)}`);
          terminal.line('  next: Ctrl-C, then npm start');
        },
      );
    },
    signal,
  });
  try {
    const wanSwitch = await openWanSwitch(dataDirectory, fleet.wan);
    try {
      const firmware = join(dataDirectory, 'firmware-2.0.0.tar');
      await writeSampleFirmware(firmware, { version: '2.0.0', behaviour: 'works' });
      await fleet.makeSigningKeys();
      show(terminal, fleet, relative('.', firmware), logName);
      await aborted(signal);
      terminal.line();
      terminal.line('stopping …');
    } finally {
      wanSwitch.close();
    }
  } finally {
    await fleet.close();
  }
};

/** One that ends at once whenever it is started shall not keep the machine busy. */
const restartPauseMs = 1_000;

const startAgain = async (fleet: Fleet, name: string, signal: AbortSignal): Promise<void> => {
  await wait(restartPauseMs, signal);
  await fleet.restart(name);
};

/** From the first moment on: a second start in the middle of the first must not find ports taken. */
const lockQuickstart = (folder: string): Promise<FolderLock> =>
  lockFolder(folder, { waitMs: 0, name: 'quickstart.lock' }).catch((error: unknown) => {
    if (!isHoldfastError(error, 'STORE_IN_USE')) throw error;
    throw new HoldfastError(
      'RESOURCE_EXISTS',
      `a quickstart runs on ${folder} already: use that one, or end it with Ctrl-C first`,
      { cause: error },
    );
  });

const show = (terminal: Terminal, fleet: Fleet, firmware: string, logFile: string): void => {
  const bold = (text: string): string => terminal.paint('bold', text);
  const dim = (text: string): string => terminal.paint('dim', text);
  terminal.line();
  terminal.line(bold('A fleet runs on this machine.'));
  terminal.line(
    `  control plane  gRPC 127.0.0.1:${fleet.port('grpc')}, link :${fleet.port('link')}`,
  );
  terminal.line(
    `  gateway        MQTT 127.0.0.1:${fleet.port('mqtts')}, devices https :${fleet.port('devices')}, people https :${fleet.port('console')}`,
  );
  terminal.line(
    `  devices        ${fleet.deviceIds.length - 1} of model ${model}, and a meter on Modbus TCP (${meterId})`,
  );
  terminal.line(`  logs           ${logFile}`);
  terminal.line();
  terminal.line(bold('Try, in another terminal:'));
  const passphrase = relative('.', fleet.passphraseFile);
  for (const [index, [why, ...commands]] of triesWith(firmware, passphrase).entries()) {
    terminal.line(`  ${index + 1}. ${dim(why)}`);
    for (const command of commands) terminal.line(`     ${terminal.paint('cyan', command)}`);
  }
  terminal.line();
  terminal.line(dim('Ctrl-C stops everything; the next start finds it again.'));
};

/** What to type, each with why; short enough for 80 columns, so that a line can be copied whole. */
const triesWith = (
  firmware: string,
  passphrase: string,
): readonly (readonly [string, ...string[]])[] => [
  ['the devices as the control plane knows them', 'npx holdfast device list'],
  ['what is desired of a device', 'npx holdfast shadow set demo/agent-1 agent.health_interval_s=5'],
  [
    'an update for every device, signed …',
    `npx holdfast firmware sign ${firmware} --model ${model} \\`,
    `    --version 2.0.0 --passphrase-file ${passphrase}`,
    `npx holdfast firmware upload ${firmware}`,
    `npx holdfast campaign create v2 --firmware ${model}@2.0.0 --start`,
  ],
  [
    '… cut the WAN: the site goes on updating by itself, and answers on site',
    'npm run wan cut',
    'npx holdfast --gateway device list',
  ],
  ['mend it: the results arrive', 'npm run wan up', 'npx holdfast campaign watch v2'],
  [
    'what hangs on wires: a microcontroller, and a meter on Modbus',
    'npx holdfast --gateway serial list',
    'npx holdfast --gateway modbus read meter-1',
  ],
];
