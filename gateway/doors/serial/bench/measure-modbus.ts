/** Registers of a unit by libmodbus, read one request after the other by this and by mbpoll: over a wire with a baud rate, and over TCP. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BusStatistics } from '@holdfast/devices/modbus/bus-statistics';
import { type Framing, rtuFraming, TcpFraming } from '@holdfast/devices/modbus/framing';
import { ModbusClient } from '@holdfast/devices/modbus/modbus-client';
import { openTcpPort } from '@holdfast/devices/modbus/tcp-port';
import { systemTimers as timers } from '@holdfast/devices/modbus/timers';
import type { OpenPort } from '@holdfast/devices/serial/port/byte-port';
import { wireMs } from '@holdfast/devices/serial/port/port-settings';
import { openSystemPort } from '@holdfast/devices/serial/port/system-port';
import { freePort } from '@holdfast/provisioning/program/free-port';
import type { Figure } from '../../../shadows/bench/figures.js';
import { openPacedWire } from './paced-wire.js';

const run = promisify(execFile);
const source = fileURLToPath(
  new URL('../../../../doors/serial/bench/modbus-slave.c', import.meta.url),
);
const unit = 17;
/** As many as a request may ask for. */
const registers = 125;
const settings = { baudRate: 19_200, dataBits: 8, parity: 'even', stopBits: 1 } as const;
const bitsOfCharacter = 11;
const timeoutMs = 1_000;

export const measureModbus = async (
  { say }: { readonly say: (text: string) => void },
  { requests }: { readonly requests: { readonly rtu: number; readonly tcp: number } },
): Promise<Figure[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-modbus-'));
  try {
    const slave = join(folder, 'slave');
    const { stdout } = await run('pkg-config', ['--cflags', '--libs', 'libmodbus']);
    await run('gcc', ['-O2', source, '-o', slave, ...stdout.trim().split(/\s+/)]);
    say('Modbus RTU …');
    const rtu = await overWire(slave, requests.rtu);
    say('Modbus TCP …');
    const tcp = await overTcp(slave, requests.tcp);
    const rate = settings.baudRate.toLocaleString('en');
    return [
      {
        what: `RTU at ${rate} baud 8E1, ${registers} registers a request`,
        ...{ value: rtu.ours, unit: 'reg/s' },
        baseline: { what: 'mbpoll', value: rtu.mbpoll },
      },
      {
        what: `TCP, ${registers} registers a request`,
        ...{ value: tcp.ours, unit: 'reg/s' },
        baseline: { what: 'mbpoll', value: tcp.mbpoll },
      },
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
};

interface Rates {
  readonly ours: number;
  readonly mbpoll: number;
}

const overWire = async (program: string, requests: number): Promise<Rates> => {
  const { baudRate } = settings;
  const wire = await openPacedWire(baudRate, bitsOfCharacter);
  const [near, far] = wire.ends;
  const slave = await startSlave(program, 'rtu', far, `${baudRate}`);
  try {
    const port = await openSystemPort(near, settings);
    const ours = await readAll(port, rtuFraming, requests, wireMs(1, settings));
    const how = ['-m', 'rtu', '-b', `${baudRate}`, '-P', 'even', '-d', '8', '-s', '1', near];
    return { ours, mbpoll: await pollAll(how, requests) };
  } finally {
    await endSlave(slave);
    await wire.close();
  }
};

const overTcp = async (program: string, requests: number): Promise<Rates> => {
  const number = await freePort();
  const slave = await startSlave(program, 'tcp', `${number}`);
  try {
    const port = await openTcpPort(`tcp 127.0.0.1:${number}`, settings);
    const ours = await readAll(port, new TcpFraming(randomInt(65_536)), requests, 0);
    const how = ['-m', 'tcp', '-p', `${number}`, '127.0.0.1'];
    return { ours, mbpoll: await pollAll(how, requests) };
  } finally {
    await endSlave(slave);
  }
};

const readAll = async (
  port: OpenPort,
  framing: Framing,
  requests: number,
  characterMs: number,
): Promise<number> => {
  const statistics = new BusStatistics(timers);
  const client = new ModbusClient({ port, framing, timers, statistics }, { characterMs });
  const begun = performance.now();
  try {
    for (let request = 0; request < requests; request += 1) {
      const asked = { type: 'read', unit, kind: 'holding', address: 0, count: registers } as const;
      const outcome = await client.ask(asked, timeoutMs);
      if (outcome.type !== 'answer') throw new Error(`it answered ${JSON.stringify(outcome)}`);
    }
    return perSecond(requests, begun);
  } finally {
    await port.close();
  }
};

/** In one process, which asks as often as units are named to it, without a pause in between. */
const pollAll = async (how: readonly string[], requests: number): Promise<number> => {
  const units = Array.from({ length: requests }, () => unit).join(',');
  const begun = performance.now();
  const asked = ['-1', '-0', '-a', units, '-r', '0', '-c', `${registers}`, '-o', '1'];
  const { stdout } = await run('mbpoll', [...asked, ...how], { maxBuffer: 1e9 });
  const read = stdout.match(/^\[124\]:/gm)?.length ?? 0;
  if (read !== requests) throw new Error(`mbpoll read ${read} of ${requests} times`);
  return perSecond(requests, begun);
};

const perSecond = (requests: number, begun: number): number =>
  (requests * registers) / ((performance.now() - begun) / 1_000);

const startSlave = async (program: string, ...args: readonly string[]): Promise<ChildProcess> => {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
};

const endSlave = async (slave: ChildProcess): Promise<void> => {
  if (slave.exitCode !== null) return;
  const ended = once(slave, 'exit');
  slave.kill('SIGKILL');
  await ended;
};
