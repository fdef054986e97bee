import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import t from 'tap';
import * as v from 'valibot';
import { rtuFraming } from './framing.js';
import { ModbusBus } from './modbus-bus.js';
import { ModbusClient } from './modbus-client.js';
import { ModbusUnit, type UnitHandlers } from './modbus-unit.js';
import { type RegisterMapInput, readMap, registerMapSchema } from './register-map.js';
import { SimulatedUnit, type SimulatedUnitOptions } from './simulated-unit.js';
import { VirtualTime, VirtualWire } from './virtual-wire.js';

const timeoutMs = 500;
const characterMs = 11_000 / 19_200;

/** A unit at the far end, and how it behaves. */
class Far extends SimulatedUnit {
  latencyMs = 20;
  isDead = false;
  /** Answers at once nothing of this many registers. */
  ignores: (request: Buffer) => boolean = () => false;
  asked = 0;
  busyUntil = 0;
}

type Registers = RegisterMapInput['registers'];

const mapOf = (registers: Registers, options: Partial<RegisterMapInput> = {}) =>
  readMap(v.parse(registerMapSchema, { name: 'm', model: 'M1', registers, ...options }));

interface Wanted extends Partial<SimulatedUnitOptions> {
  readonly registers?: Registers;
  readonly map?: Partial<RegisterMapInput>;
  readonly handlers?: Partial<UnitHandlers>;
}

const voltage = { name: 'voltage', kind: 'input', address: 0, pollS: 1 } as const;

/** Some units on a bus in virtual time, numbered from 1. */
const begin = (...wanted: readonly Wanted[]) => {
  const time = new VirtualTime();
  const fars = wanted.map((one, index) => new Far({ unit: index + 1, ...one }));
  const told: (readonly [device: string, kind: string, detail?: unknown])[] = [];
  const reported: JsonObject[] = fars.map(() => ({}));
  const units = wanted.map(({ registers = [voltage], map = {}, handlers = {} }, index) => {
    const device = `meter-${index + 1}`;
    const tell = (kind: string, detail?: unknown): void => {
      told.push([device, kind, detail]);
    };
    return new ModbusUnit(
      {
        online: async ({ model }) => tell('online', model),
        welcomed: () => tell('welcomed'),
        offline: async (reason) => tell('offline', reason),
        telemetry: async (series, [point]) => tell('telemetry', [series, point?.value]),
        reported: async (state) => {
          tell('reported', state);
          reported[index] = merge(reported[index] ?? {}, state);
        },
        desired: async () => ({ state: {}, version: 1 }),
        failed: (error) => tell('failed', error),
        time: () => ({ ts: time.now(), trusted: true }),
        ...handlers,
      },
      time,
      { device, unit: index + 1, map: mapOf(registers, map), isNumbered: false, timeoutMs },
    );
  });
  const wire = new VirtualWire(time, (request) => {
    const far = fars[(request[0] ?? 0) - 1];
    if (far === undefined) return [];
    far.asked += 1;
    const bytes = far.answerRtu(request);
    if (far.isDead || bytes === null || far.ignores(request)) return [];
    // One after the other.
    far.busyUntil = Math.max(time.now(), far.busyUntil) + far.latencyMs;
    return [{ bytes, afterMs: far.busyUntil - time.now() }];
  });
  const bus = new ModbusBus(time, units, { timeoutMs });
  const up = (port = wire): void => {
    bus.begin(
      new ModbusClient(
        { port, framing: rtuFraming, timers: time, statistics: bus.statistics },
        { characterMs },
      ),
    );
  };
  up();
  const of = (kind: string, device = 'meter-1') =>
    told.filter(([who, what]) => who === device && what === kind).map(([, , detail]) => detail);
  return { time, bus, units, fars, wire, told, of, reported, up };
};

const merge = (before: JsonObject, patch: JsonObject): JsonObject => {
  const after = new Map(Object.entries(before));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) after.delete(key);
    else if (typeof value === 'object' && !Array.isArray(value)) {
      after.set(key, merge((after.get(key) ?? {}) as JsonObject, value as JsonObject));
    } else after.set(key, value);
  }
  return Object.fromEntries(after);
};

const first = <T>(all: readonly T[]): T => {
  const [one] = all;
  if (one === undefined) throw new Error('there is none');
  return one;
};

t.test('is online when it answers, and tells what its registers hold', async (t) => {
  const { time, fars, of, units } = begin({});
  first(fars).input[0] = 2_301;
  await time.pass(500);
  t.same(of('online'), ['M1']);
  t.same(of('welcomed').length, 1);
  t.same(of('telemetry'), [['voltage', 2_301]]);
  t.ok(first(units).isOnline);
});

t.test('says what goes wrong in a turn, not a thousand times a second', async (t) => {
  const time = () => {
    throw new TypeError('no clock');
  };
  const { time: virtual, fars, of, units } = begin({ handlers: { time } }, {});
  first(fars).input[0] = 2_301;
  await virtual.pass(10_000);
  const failed = of('failed');
  t.ok(failed.length > 0 && failed.length <= 10, `${failed.length} times`);
  t.match(failed, [TypeError]);
  t.ok(units[1]?.isOnline, 'the other is served');
});

t.test('tells a value again when it leaves its dead-band, or was silent for long', async (t) => {
  const registers = [{ ...voltage, deadBand: 5, atLeastEveryS: 60 }];
  const { time, fars, of } = begin({ registers });
  const far = first(fars);
  far.input[0] = 2_300;
  await time.pass(5_000);
  far.input[0] = 2_305;
  await time.pass(5_000);
  t.same(of('telemetry'), [['voltage', 2_300]]);
  far.input[0] = 2_306;
  await time.pass(5_000);
  t.same(of('telemetry').slice(1), [['voltage', 2_306]]);
  await time.pass(60_000);
  t.same(of('telemetry').slice(2), [['voltage', 2_306]]);
});

t.test('is offline after three silences, asked rarer and rarer, and back at once', async (t) => {
  const { time, fars, of, wire, units } = begin({});
  const far = first(fars);
  await time.pass(2_000);
  far.isDead = true;
  await time.pass(10_000);
  t.same(of('offline'), ['the unit does not answer']);
  t.notOk(first(units).isOnline);
  const before = wire.requests.length;
  await time.pass(600_000);
  const asked = wire.requests.length - before;
  t.ok(asked >= 10 && asked <= 20, `${asked} times in ten minutes`);
  far.isDead = false;
  await time.pass(61_000);
  t.equal(of('online').length, 2);
  t.ok(first(units).isOnline);
});

t.test('dead units hold up the others for no more than a fifth of the time', async (t) => {
  const { time, fars, told } = begin({}, {}, ...Array.from({ length: 30 }, () => ({})));
  for (const far of fars.slice(1)) far.isDead = true;
  first(fars).latencyMs = 5;
  const deadMs = (): number => fars.slice(1).reduce((sum, far) => sum + far.asked * timeoutMs, 0);
  await time.pass(60_000);
  t.ok(deadMs() <= 30_000, `${deadMs()} ms of the first 60,000 were waited for the dead`);
  const [askedBefore, deadBefore] = [first(fars).asked, deadMs()];
  await time.pass(300_000);
  const asked = first(fars).asked - askedBefore;
  t.ok(asked >= 295, `the living one was asked ${asked} of 300 times`);
  const waited = deadMs() - deadBefore;
  t.ok(waited > 10_000 && waited <= 60_000, `${waited} ms of 300,000 were waited for the dead`);
  t.notOk(told.some(([device, kind]) => device !== 'meter-1' && kind === 'online'));
});

t.test('a slow unit takes no more than its part of a bus that is full', async (t) => {
  const many = Array.from({ length: 20 }, (_, i) => ({
    ...voltage,
    name: `v${i}`,
    address: i * 50,
    pollS: 0.1,
  }));
  const { time, fars } = begin({ registers: many }, { registers: many });
  const [slow, quick] = fars;
  if (slow === undefined || quick === undefined) throw new Error('no units');
  slow.latencyMs = 400;
  quick.latencyMs = 10;
  await time.pass(5_000);
  const before = quick.asked;
  await time.pass(60_000);
  const busyMs = (quick.asked - before) * 12;
  t.ok(busyMs > 20_000, `the quick one had ${busyMs} ms of 60,000`);
});

t.test('never takes a late answer for another, not even one that looks alike', async (t) => {
  const registers = [
    { ...voltage, address: 11, name: 'a' },
    { ...voltage, address: 222, name: 'b' },
    { ...voltage, address: 333, name: 'c' },
  ];
  const { time, fars, of, bus } = begin({ registers });
  const far = first(fars);
  for (const { address } of registers) far.input[address] = address;
  far.ignores = () => {
    // Just when it is asked again.
    far.latencyMs = far.asked % 4 === 0 ? 2_570 : 20;
    return false;
  };
  await time.pass(200_000);
  for (const [series, value] of of('telemetry') as [string, number][]) {
    const right = registers.find(({ name }) => name === series)?.address;
    if (value !== right) t.fail(`${series} is ${value}`);
  }
  const { lateReplies } = bus.statistics.counts;
  t.ok(lateReplies > 20, `${lateReplies} late answers`);
  t.ok(of('telemetry').length >= 2);
});

t.test(
  'asks for single registers where a unit refuses the block, and tells the one it lacks',
  async (t) => {
    const registers = [0, 1, 2, 5].map((address) => ({ ...voltage, name: `r${address}`, address }));
    const { time, fars, of, reported } = begin({
      registers,
      has: (address) => address !== 4 && address !== 1,
    });
    first(fars).input.set([10, 11, 12, 13, 14, 15]);
    await time.pass(10_000);
    t.same(of('telemetry').sort(), [
      ['r0', 10],
      ['r2', 12],
      ['r5', 15],
    ]);
    t.match(first(reported), { modbus_problems: { r1: 'exception 2 (illegal data address)' } });
    t.ok(first(fars).asked < 45, `asked ${first(fars).asked} times`);
  },
);

t.test('asks for less where a unit is silent about a block', async (t) => {
  const registers = [0, 1, 20].map((address) => ({ ...voltage, name: `r${address}`, address }));
  const { time, fars, of } = begin({ registers });
  first(fars).ignores = (request) => request.readUInt16BE(4) > 1;
  await time.pass(60_000);
  t.same(new Set((of('telemetry') as [string, number][]).map(([series]) => series)).size, 3);
});

t.test('tells what is no value as a problem, and takes it back', async (t) => {
  const registers = [{ ...voltage, type: 'float32' as const }];
  const { time, fars, of, reported } = begin({ registers });
  const far = first(fars);
  far.input.set([0x7fc0, 0]);
  await time.pass(3_000);
  t.same(of('telemetry'), []);
  t.match(first(reported), { modbus_problems: { voltage: 'it is not a number' } });
  far.input.set([0x4366, 0x8000]);
  await time.pass(3_000);
  t.same(of('telemetry'), [['voltage', 230.5]]);
  t.same(first(reported), { modbus_problems: {} });
});

const setpoint: Registers[number] = {
  ...{ name: 'setpoint', kind: 'holding', address: 4, type: 'int16', scale: 0.5 },
  ...{ pollS: 1, writable: true, minimum: 5, maximum: 30, unit: '°C' },
};

t.test('writes what is desired, reads it back and reports it', async (t) => {
  const { time, fars, units, reported } = begin({ registers: [setpoint] });
  const far = first(fars);
  far.holding[4] = 40;
  await time.pass(1_500);
  t.match(first(reported), { setpoint: 20 });
  first(units).want({ setpoint: 21.5 });
  await time.pass(200);
  t.equal(far.holding[4], 43);
  t.match(first(reported), { setpoint: 21.5 });
});

t.test('does not write what is not desired any more when its turn comes', async (t) => {
  const { time, fars, units } = begin({ registers: [setpoint] });
  await time.pass(1_500);
  first(units).want({ setpoint: 25 });
  first(units).want({});
  await time.pass(5_000);
  t.equal(first(fars).holding[4], 0);
});

t.test('refuses with a reason what it can not write, and forgets that when it can', async (t) => {
  const registers = [setpoint, { ...voltage }];
  const { time, fars, units, reported } = begin({ registers });
  const far = first(fars);
  await time.pass(1_500);
  first(units).want({ setpoint: 99, voltage: 3, speed: 1 });
  await time.pass(100);
  t.same(first(reported).modbus_refused, {
    setpoint: '99 is out of range: 5 to 30 °C',
    voltage: 'it is not writable',
    speed: 'm has no register of this name',
  });
  t.equal(far.holding[4], 0);
  first(units).want({ setpoint: 25 });
  await time.pass(200);
  t.same(first(reported).modbus_refused, {});
  t.equal(far.holding[4], 50);
});

t.test('says it when a unit keeps what it had', async (t) => {
  const { time, fars, units, reported } = begin({ registers: [setpoint] });
  const far = first(fars);
  await time.pass(1_500);
  const answer = far.answerRtu.bind(far);
  far.answerRtu = (frame) => {
    const reply = answer(frame);
    far.holding[4] = 44;
    return reply;
  };
  first(units).want({ setpoint: 25 });
  await time.pass(200);
  t.match(first(reported), {
    setpoint: 22,
    modbus_refused: { setpoint: 'the unit holds 22 after 25 was written' },
  });
});

t.test('uses the functions that a unit has', async (t) => {
  const registers: Registers = [
    setpoint,
    { name: 'fan', kind: 'coil', address: 0, writable: true },
    { name: 'alarm', kind: 'holding', address: 9, type: 'bit', bit: 3, writable: true },
  ];
  const { time, fars, units } = begin({ registers, lacks: [5, 6, 22] });
  const far = first(fars);
  far.holding[9] = 0x00f1;
  await time.pass(1_500);
  first(units).want({ setpoint: 25, fan: true, alarm: true });
  await time.pass(1_000);
  t.equal(far.holding[4], 50);
  t.equal(far.coils[0], 1);
  t.equal(far.holding[9], 0x00f9);
});

t.test('does not stay with a gateway that does not take it, and is offered again', async (t) => {
  let isTaken = false;
  const { time, of, units } = begin({
    handlers: {
      online: async () => {
        if (!isTaken) throw new HoldfastError('DEVICE_DISABLED', 'it is disabled');
      },
    },
  });
  await time.pass(5_000);
  t.notOk(first(units).isOnline);
  t.same(of('telemetry'), []);
  isTaken = true;
  await time.pass(31_000);
  t.ok(first(units).isOnline);
  first(units).refuse('disabled');
  await time.pass(1);
  t.same(of('offline'), ['disabled']);
});

t.test('what could not be committed is told again', async (t) => {
  let isFull = true;
  const heard: unknown[] = [];
  const { time, fars } = begin({
    handlers: {
      telemetry: async (_series, [point]) => {
        if (isFull) throw new HoldfastError('STORE_UNAVAILABLE', 'the disk is full');
        heard.push(point?.value);
      },
    },
  });
  first(fars).input[0] = 7;
  await time.pass(3_000);
  isFull = false;
  await time.pass(2_000);
  t.same(heard, [7]);
});

t.test('a report that could not be committed is made up for', async (t) => {
  let isFull = false;
  let shadow: JsonObject = {};
  const { time, units } = begin({
    registers: [setpoint],
    handlers: {
      reported: async (state) => {
        if (isFull) throw new HoldfastError('STORE_UNAVAILABLE', 'the disk is full');
        shadow = merge(shadow, state);
      },
    },
  });
  await time.pass(1_500);
  isFull = true;
  first(units).want({ setpoint: 99 });
  await time.pass(3_000);
  t.same(shadow, { setpoint: 0 });
  isFull = false;
  await time.pass(3_000);
  t.same(shadow, { setpoint: 0, modbus_refused: { setpoint: '99 is out of range: 5 to 30 °C' } });
});

t.test('goes with its line and comes back with it', async (t) => {
  const { time, bus, of, up, wire, units } = begin({});
  await time.pass(1_000);
  bus.end('unplugged');
  wire.fail('unplugged');
  await time.pass(1_000);
  t.same(of('offline'), ['unplugged']);
  await t.rejects(bus.ask({ type: 'read', unit: 9, kind: 'input', address: 0, count: 1 }), {
    code: 'SERIAL_LINE_DOWN',
    message: 'the bus is away: unplugged',
    data: { next: /modbus status/ },
  });
  up(
    new VirtualWire(time, (request) => {
      const bytes = new SimulatedUnit({ unit: 1 }).answerRtu(request);
      return bytes === null ? [] : [{ bytes, afterMs: 5 }];
    }),
  );
  await time.pass(1_000);
  t.ok(first(units).isOnline);
  await bus.close('closed');
  t.same(of('offline'), ['unplugged', 'closed']);
});

t.test('lets people ask between two turns', async (t) => {
  const { time, bus, fars } = begin({}, {});
  first(fars).holding[7] = 77;
  await time.pass(1_000);
  const asked = bus.ask({ type: 'read', unit: 1, kind: 'holding', address: 7, count: 1 });
  await time.pass(200);
  const outcome = await asked;
  t.equal(outcome.type === 'answer' && outcome.bytes.readUInt16BE(), 77);
  const counts = bus.statistics.counts;
  t.ok(counts.loadPercent > 0 && counts.loadPercent < 20, `${counts.loadPercent} %`);
});
