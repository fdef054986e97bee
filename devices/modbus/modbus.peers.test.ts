/** Against libmodbus's unit, over pseudo-terminals and TCP, with mbpoll as another master that reads the same. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '@holdfast/provisioning/program/free-port';
import t, { type Test } from 'tap';
import { driveLine } from '../serial/driven-line.js';
import { openPseudoTerminal } from '../serial/pseudo-terminal.js';
import type { SerialHandlers } from '../serial/serial-driver.js';
import type { ModbusBus } from './modbus-bus.js';
import { createModbusDriver } from './modbus-driver.js';
import type { RegisterMapInput } from './register-map.js';
import { openTcpPort } from './tcp-port.js';

const run = promisify(execFile);
const source = fileURLToPath(new URL('../../modbus/libmodbus-unit.c', import.meta.url));
const settings = { baudRate: 19_200, parity: 'even' } as const;
/** In the one test that is about it; everywhere else the unit may take its time. */
const shortTimeoutMs = 400;

const folder = await mkdtemp(join(tmpdir(), 'holdfast-modbus-'));
const program = join(folder, 'libmodbus-unit');
const { stdout: flags } = await run('pkg-config', ['--cflags', '--libs', 'libmodbus']);
await run('gcc', [
  '-Wall',
  '-Wextra',
  '-Werror',
  source,
  '-o',
  program,
  ...flags.trim().split(/\s+/),
]);
t.teardown(() => rm(folder, { recursive: true }));

const startUnit = async (t: Test, where: string, ...late: string[]): Promise<ChildProcess> => {
  const unit = spawn(program, [where, ...late], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(async () => {
    if (unit.exitCode !== null || unit.signalCode !== null) return;
    const gone = once(unit, 'exit');
    unit.kill('SIGKILL');
    await gone;
  });
  await once(unit.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
  return unit;
};

/** Two pseudo-terminals whose far ends are tied together: a wire with a port at each end. */
const openWire = async (t: Test) => {
  const [near, far] = await Promise.all([openPseudoTerminal(), openPseudoTerminal()]);
  near.onData((bytes) => far.write(bytes));
  far.onData((bytes) => near.write(bytes));
  t.teardown(() => Promise.all([near.close(), far.close()]));
  return { near: near.path, far: far.path };
};

const floats = { kind: 'holding', type: 'float32', pollS: 0.1 } as const;
const map: RegisterMapInput = {
  name: 'libmodbus',
  model: 'libmodbus',
  registers: [
    { name: 'holding', kind: 'holding', address: 3, pollS: 0.1 },
    { name: 'input', kind: 'input', address: 7, pollS: 0.1 },
    { name: 'discrete', kind: 'discrete', address: 5, pollS: 0.1 },
    { name: 'abcd', ...floats, address: 60, byteOrder: 'ABCD' },
    { name: 'cdab', ...floats, address: 62, byteOrder: 'CDAB' },
    { name: 'badc', ...floats, address: 64, byteOrder: 'BADC' },
    { name: 'dcba', ...floats, address: 66, byteOrder: 'DCBA' },
    { name: 'missing', kind: 'input', address: 101, pollS: 0.1 },
    { name: 'setpoint', kind: 'holding', address: 20, pollS: 0.1, scale: 0.1, writable: true },
    { name: 'limit', ...floats, address: 30, byteOrder: 'CDAB', writable: true },
    { name: 'relay', kind: 'coil', address: 9, pollS: 0.1, writable: true },
    { name: 'flag', kind: 'holding', address: 40, type: 'bit', bit: 2, pollS: 0.1, writable: true },
  ],
};

/** Our end of a bus, and what it told of the unit. */
const openBus = (
  t: Test,
  where: { readonly path: string } | { readonly tcp: number },
  timeoutMs = 20_000,
) => {
  const values = new Map<string, unknown>();
  const reported = new Map<string, unknown>();
  const waiting = new Set<() => void>();
  const note = (): void => {
    for (const look of waiting) look();
  };
  const handlers: SerialHandlers = {
    online: async () => note(),
    welcomed: note,
    offline: async () => note(),
    telemetry: async (series, [point]) => {
      values.set(series, point?.value);
      note();
    },
    reported: async (state) => {
      for (const [leaf, value] of Object.entries(state)) reported.set(leaf, value);
      note();
    },
    response: async () => undefined,
    jobStatus: async () => undefined,
    image: async () => new Uint8Array(),
    desired: async () => ({ state: {}, version: 1 }),
    failed: (error) => t.fail(String(error)),
    time: () => ({ ts: Date.now(), trusted: true }),
  };
  let bus: ModbusBus | undefined;
  const driver = createModbusDriver({
    onBus: (_name, made) => {
      bus = made;
    },
  });
  const isNetwork = 'tcp' in where;
  const driven = driveLine(
    {
      driver,
      devices: [{ id: 'meter-1', handlers, settings: { unit: 17, map } }],
      ...(isNetwork && { openPort: openTcpPort }),
    },
    {
      name: 'bus-1',
      address: { path: isNetwork ? `tcp 127.0.0.1:${where.tcp}` : where.path },
      settings,
      retryDelayMs: () => 20,
      driverOptions: { framing: isNetwork ? 'tcp' : 'rtu', isNetwork, timeoutMs },
    },
  );
  driven.open();
  t.teardown(() => driven.close());
  if (bus === undefined) throw new Error('no bus');
  const [meter] = driven.devices;
  if (meter === undefined) throw new Error('no device');
  return {
    ...{ bus, meter, values, reported, driven },
    until: (look: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        const again = (): void => {
          if (!look()) return;
          waiting.delete(again);
          resolve();
        };
        waiting.add(again);
        again();
      }),
  };
};

const expected: readonly (readonly [series: string, value: unknown])[] = [
  ['holding', 1_003],
  ['input', 2_007],
  ['discrete', true],
  ['abcd', 230.5],
  ['cdab', 230.5],
  ['badc', 230.5],
  ['dcba', 230.5],
];

/** As another master reads them, by their addresses. */
const poll = async (...args: string[]): Promise<ReadonlyMap<number, string>> => {
  const { stdout } = await run('mbpoll', ['-1', '-0', '-q', '-a', '17', '-o', '1', ...args]);
  const found = [...stdout.matchAll(/^\[(\d+)\]:\s+(\S+)/gm)];
  return new Map(found.map(([, address, value]) => [Number(address), value ?? '']));
};

/** What holds for a unit however it is reached. */
const checkUnit = async (
  t: Test,
  where: { readonly path: string } | { readonly tcp: number },
  mbpoll: readonly string[],
): Promise<void> => {
  const other = (...args: string[]) => poll(...args, ...mbpoll);
  const { until, values, reported, meter, driven, bus } = openBus(t, where);
  await until(() => expected.every(([series]) => values.has(series)));
  for (const [series, value] of expected) t.equal(values.get(series), value, series);
  await until(() => reported.has('modbus_problems') && reported.get('modbus_problems') !== null);
  t.match(reported.get('modbus_problems'), { missing: 'exception 2 (illegal data address)' });
  const desired = { setpoint: 21.5, limit: -3.25, relay: true, flag: true };
  await meter.sendDelta(desired, 2);
  await until(() => Object.entries(desired).every(([leaf, value]) => reported.get(leaf) === value));
  const { answers, garbled, timeouts } = bus.statistics.counts;
  t.ok(answers > 10);
  t.same({ garbled, timeouts }, { garbled: 0, timeouts: 0 });
  await driven.close();
  // Nobody else speaks on the wire now.
  const words = await other('-t', '4', '-r', '0', '-c', '50');
  t.equal(words.get(3), '1003');
  t.equal(words.get(20), '215');
  t.equal(Number(words.get(40)), 1_040 | 4);
  t.equal((await other('-t', '4:float', '-r', '30', '-c', '1')).get(30), '-3.25');
  t.equal((await other('-t', '4:float', '-B', '-r', '60', '-c', '1')).get(60), '230.5');
  t.equal((await other('-t', '0', '-r', '9', '-c', '1')).get(9), '1');
};

t.test('reads and writes a unit of libmodbus on a serial line, as mbpoll does', async (t) => {
  const wire = await openWire(t);
  await startUnit(t, wire.far);
  const { baudRate, parity } = settings;
  const line = ['-m', 'rtu', '-b', String(baudRate), '-P', parity, wire.near];
  await checkUnit(t, { path: wire.near }, line);
});

t.test('reads and writes a unit of libmodbus by TCP, as mbpoll does', async (t) => {
  const port = await freePort();
  await startUnit(t, String(port));
  await checkUnit(t, { tcp: port }, ['-m', 'tcp', '-p', String(port), '127.0.0.1']);
});

t.test('never takes an answer of libmodbus that came late for the next', async (t) => {
  const wire = await openWire(t);
  await startUnit(t, wire.far, String(shortTimeoutMs + 100), '5');
  const { bus, until, values } = openBus(t, { path: wire.near }, shortTimeoutMs);
  await until(() => values.size > 0);
  let right = 0;
  for (let address = 0; address < 25; address += 1) {
    const outcome = await bus.ask({ type: 'read', unit: 17, kind: 'holding', address, count: 1 });
    if (outcome.type !== 'answer') continue;
    t.equal(outcome.bytes.readUInt16BE(), 1_000 + address);
    right += 1;
  }
  for (const [series, value] of expected) {
    if (values.has(series)) t.equal(values.get(series), value, series);
  }
  const { timeouts, lateReplies } = bus.statistics.counts;
  t.ok(right >= 10 && timeouts >= 3 && lateReplies >= 3, `${right} ${timeouts} ${lateReplies}`);
});
