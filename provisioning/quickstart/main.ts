/** `npm start`: a fleet on this machine to try things on; and `npm run wan WORD`, which cuts and mends its WAN. */
import { appendFile, mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { Terminal } from '../cli/terminal.js';
import { LogStream } from '../program/log-stream.js';
import { createLogger } from '../program/logger.js';
import { type FolderLock, lockFolder } from '../storage/folder-lock.js';
import { Fleet, model } from './fleet.js';
import { writeSampleFirmware } from './sample-firmware.js';
import { openWanSwitch, switchWan } from './wan-switch.js';

const dataDirectory = process.env.HOLDFAST_DATA ?? '.holdfast';

/** Runs one command line and gives the exit code. */
export const runQuickstart = async (argv: readonly string[]): Promise<number> => {
  try {
    if (argv[0] === 'wan') {
      process.stdout.write(`${await switchWan(dataDirectory, argv[1] ?? 'state')}\n`);
      return 0;
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
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  const lock = await lockQuickstart(dataDirectory);
  const logFile = join(dataDirectory, 'quickstart.log');
  const fleet = await Fleet.open({
    dataDirectory,
    agents: 1,
    simulated: 10,
    hasSerial: true,
    log: createLogger({ program: 'quickstart', level: 'warn', to: new LogStream({ fd: 2 }) }),
    onStep: (text) => terminal.line(`${terminal.paint('dim', '·')} ${text}`),
    onLogLine: (program, line) => {
      appendFile(logFile, `${program} ${line}\n`).catch((error: unknown) => {
        process.stderr.write(`${logFile}: ${messageOf(error)}\n`);
      });
    },
  });
  const wanSwitch = await openWanSwitch(dataDirectory, fleet.wan);
  try {
    const firmware = join(dataDirectory, 'firmware-2.0.0.tar.gz');
    await writeSampleFirmware(firmware, { version: '2.0.0', behaviour: 'works' });
    show(terminal, fleet, relative('.', firmware), relative('.', logFile));
    await stopped;
    terminal.line();
    terminal.line('stopping …');
  } finally {
    wanSwitch.close();
    await fleet.close();
    await lock.close();
  }
  return 0;
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
  terminal.line(`  devices        ${fleet.deviceIds.length}, of model ${model}`);
  terminal.line(`  logs           ${logFile}`);
  terminal.line();
  terminal.line(bold('Try, in another terminal:'));
  const tries = [
    ['npx holdfast device list', 'the devices as the control plane knows them'],
    [
      'npx holdfast shadow set demo/agent-1 agent.health_interval_s=5',
      'what is desired of a device',
    ],
    [
      `npx holdfast firmware upload ${firmware} --model ${model} --version 2.0.0 && npx holdfast campaign create v2 --firmware ${model}@2.0.0 --start`,
      'an update for every device …',
    ],
    [
      'npm run wan cut && npx holdfast --gateway device list',
      '… cut the WAN: the site goes on updating by itself, and answers on site',
    ],
    ['npm run wan up && npx holdfast campaign watch v2', 'mend it: the results arrive'],
  ] as const;
  for (const [index, [command, why]] of tries.entries()) {
    terminal.line(`  ${index + 1}. ${dim(why)}`);
    terminal.line(`     ${terminal.paint('cyan', command)}`);
  }
  terminal.line();
  terminal.line(dim('Ctrl-C stops everything; the next start finds it again.'));
};
