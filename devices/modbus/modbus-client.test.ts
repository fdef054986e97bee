import t from 'tap';
import { BusStatistics } from './bus-statistics.js';
import { type Framing, rtuFraming, TcpFraming } from './framing.js';
import { ModbusClient } from './modbus-client.js';
import type { ModbusOutcome, ReadRequest } from './modbus-request.js';
import { crc16 } from './rtu-checksum.js';
import { SimulatedUnit } from './simulated-unit.js';
import { type Answers, VirtualTime, VirtualWire } from './virtual-wire.js';

const timeoutMs = 500;
const characterMs = 11_000 / 19_200;

const begin = (answers: Answers, framing: Framing = rtuFraming) => {
  const time = new VirtualTime();
  const wire = new VirtualWire(time, answers);
  const statistics = new BusStatistics(time);
  const client = new ModbusClient(
    { port: wire, framing, timers: time, statistics },
    { characterMs },
  );
  const ask = async (request: ReadRequest): Promise<ModbusOutcome> => {
    const outcome = client.ask(request, timeoutMs);
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    outcome.then(done, done);
    while (!isDone) await time.pass(1);
    return outcome;
  };
  return { time, wire, statistics, client, ask };
};

const holding = (address: number, count: number, unit = 17): ReadRequest => ({
  ...{ type: 'read', kind: 'holding' },
  ...{ unit, address, count },
});

const rtu = (...bytes: number[]): Buffer => {
  const frame = Buffer.from([...bytes, 0, 0]);
  frame.writeUInt16LE(crc16(frame.subarray(0, -2)), bytes.length);
  return frame;
};

const meter = (): SimulatedUnit => {
  const unit = new SimulatedUnit({ unit: 17 });
  for (let i = 0; i < 200; i += 1) unit.holding[i] = 1_000 + i;
  return unit;
};

const answering = (unit: SimulatedUnit): Answers => {
  return (request) => {
    const answer = unit.answerRtu(request);
    return answer === null ? [] : [{ bytes: answer, afterMs: 5 }];
  };
};

t.test('asks, and gets what the unit holds', async (t) => {
  const { ask, statistics } = begin(answering(meter()));
  const outcome = await ask(holding(3, 2));
  t.equal(outcome.type === 'answer' && outcome.bytes.toString('hex'), '03eb03ec');
  t.match(statistics.counts, { requests: 1, answers: 1, roundTripP50Ms: 5, timeouts: 0 });
});

t.test('is told no with the code', async (t) => {
  const unit = new SimulatedUnit({ unit: 17, has: (address) => address < 4 });
  const { ask, statistics } = begin(answering(unit));
  t.same(await ask(holding(3, 2)), { type: 'exception', code: 2 });
  t.match(statistics.counts, { exceptions: { 2: 1 } });
});

t.test('drops an answer that comes when nobody waits for it', async (t) => {
  const unit = meter();
  let isFirst = true;
  const { ask, time, statistics } = begin((request) => {
    const bytes = unit.answerRtu(request);
    const afterMs = isFirst ? 700 : 30;
    isFirst = false;
    return bytes === null ? [] : [{ bytes, afterMs }];
  });
  t.match(await ask(holding(11, 1)), { type: 'none', isGarbled: false });
  await time.pass(300);
  const outcome = await ask(holding(22, 1));
  t.equal(outcome.type === 'answer' && outcome.bytes.readUInt16BE(), 1_022);
  t.match(statistics.counts, { timeouts: 1, lateReplies: 1 });
});

t.test('knows by its length that an answer is to an earlier request', async (t) => {
  const unit = meter();
  const late = unit.answerRtu(rtu(17, 3, 0, 11, 0, 1)) ?? Buffer.alloc(0);
  const { ask, statistics } = begin((request) => [
    { bytes: late, afterMs: 5 },
    { bytes: unit.answerRtu(request) ?? late, afterMs: 20 },
  ]);
  const outcome = await ask(holding(22, 3));
  t.equal(outcome.type === 'answer' && outcome.bytes.readUInt16BE(), 1_022);
  t.match(statistics.counts, { lateReplies: 1 });
});

t.test('by TCP knows a late answer by its number, however alike it is', async (t) => {
  const unit = meter();
  let isFirst = true;
  const { ask, statistics } = begin((request) => {
    const body = unit.answer(request.subarray(7));
    const header = Buffer.from(request.subarray(0, 7));
    header.writeUInt16BE(body.length + 1, 4);
    const afterMs = isFirst ? 520 : 60;
    isFirst = false;
    return [{ bytes: Buffer.concat([header, body]), afterMs }];
  }, new TcpFraming(0xfffe));
  t.match(await ask(holding(11, 1)), { type: 'none' });
  const outcome = await ask(holding(22, 1));
  t.equal(outcome.type === 'answer' && outcome.bytes.readUInt16BE(), 1_022);
  t.match(statistics.counts, { lateReplies: 1, timeouts: 1 });
});

t.test('waits after silence for 3.5 characters, also of a line that was noisy', async (t) => {
  const { ask, wire, time } = begin(answering(meter()));
  await ask(holding(1, 1));
  wire.say(Buffer.from('noise'));
  const at = time.now();
  await ask(holding(1, 1));
  const gap = (wire.requests[1]?.at ?? 0) - at;
  t.ok(gap >= 3.5 * characterMs && gap < 10, `${gap} ms`);
});

t.test('asks a line that never falls silent nevertheless', async (t) => {
  const { client, wire, time } = begin(() => []);
  void client.ask(holding(1, 1), timeoutMs);
  for (let ms = 0; ms < 3_000; ms += 1) {
    wire.say(Buffer.of(0x55));
    await time.pass(1);
  }
  const asked = client.ask(holding(1, 1), timeoutMs);
  for (let ms = 0; ms < 3_000; ms += 1) {
    wire.say(Buffer.of(0x55));
    await time.pass(1);
  }
  t.match(await asked, { type: 'none', isGarbled: true });
  t.equal(wire.requests.length, 2);
});

t.test('gives a garbled answer up before its time is over', async (t) => {
  const { ask, time, statistics } = begin(() => [
    { bytes: Buffer.from('11030203e80000', 'hex'), afterMs: 5 },
  ]);
  t.match(await ask(holding(1, 1)), { type: 'none', isGarbled: true });
  t.ok(time.now() < timeoutMs / 2, `${time.now()} ms`);
  t.match(statistics.counts, { garbled: 1, timeouts: 0 });
});

t.test('says when the port goes under a request', async (t) => {
  const { client, wire, time } = begin(() => []);
  const asked = client.ask(holding(1, 1), timeoutMs);
  await time.pass(10);
  wire.fail('unplugged');
  await t.rejects(asked, { code: 'SERIAL_LINE_DOWN', message: 'unplugged' });
  await t.rejects(client.ask(holding(1, 1), timeoutMs), { code: 'SERIAL_LINE_DOWN' });
});

t.test('writes by each function', async (t) => {
  const unit = meter();
  const { client, time } = begin(answering(unit));
  const write = async (request: Parameters<ModbusClient['ask']>[0]) => {
    const outcome = client.ask(request, timeoutMs);
    await time.pass(50);
    return (await outcome).type;
  };
  const at = { unit: 17, address: 5 };
  t.equal(await write({ type: 'write_coil', ...at, isOn: true }), 'answer');
  t.equal(unit.coils[5], 1);
  t.equal(await write({ type: 'write_coils', ...at, values: [false, true] }), 'answer');
  t.same([...unit.coils.subarray(5, 7)], [0, 1]);
  t.equal(await write({ type: 'write_register', ...at, bytes: Buffer.of(1, 2) }), 'answer');
  t.equal(unit.holding[5], 0x0102);
  const bytes = Buffer.of(3, 4, 5, 6);
  t.equal(await write({ type: 'write_registers', ...at, bytes }), 'answer');
  t.same([...unit.holding.subarray(5, 7)], [0x0304, 0x0506]);
  t.equal(await write({ type: 'mask_register', ...at, and: 0xff00, or: 0x0011 }), 'answer');
  t.equal(unit.holding[5], 0x0311);
});

/** Numbers that are the same each time. */
const numbers = (seed: number) => {
  let state = seed;
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

t.test('never takes a wrong value, whatever else is on the line', async (t) => {
  const unit = meter();
  const others = Array.from({ length: 3 }, (_, i) => new SimulatedUnit({ unit: 16 + 2 * i }));
  let answers = 0;
  for (let seed = 1; seed <= 1_500; seed += 1) {
    const next = numbers(seed);
    const count = 1 + next(20);
    const address = next(100);
    const noise = (): Buffer => {
      switch (next(5)) {
        case 0:
          return Buffer.from(Array.from({ length: next(40) }, () => next(256)));
        case 1: {
          // Another unit's answer, or to another question.
          const other = others[next(3)] ?? unit;
          return other.answerRtu(rtu(other.unit, 3 + next(2), 0, next(90), 0, count)) ?? none;
        }
        case 2: {
          const shorter = 1 + ((count + next(19)) % 21);
          const wrong = shorter === count ? count + 1 : shorter;
          return unit.answerRtu(rtu(17, 3, 0, next(90), 0, wrong)) ?? none;
        }
        case 3:
          return unit.answerRtu(rtu(17, 4, 0, next(90), 0, count)) ?? none;
        default: {
          // The right one, damaged.
          const damaged = Buffer.from(unit.answerRtu(rtu(17, 3, 0, address, 0, count)) ?? none);
          const at = next(damaged.length);
          damaged[at] = (damaged[at] ?? 0) ^ (1 << next(8));
          return damaged;
        }
      }
    };
    const comesAtAll = next(4) > 0;
    const { ask } = begin((request) => {
      const right = comesAtAll ? (unit.answerRtu(request) ?? none) : none;
      const stream = Buffer.concat([noise(), noise(), right, noise()]);
      const pieces: { bytes: Buffer; afterMs: number }[] = [];
      for (let at = 0; at < stream.length; ) {
        const length = 1 + next(30);
        pieces.push({ bytes: stream.subarray(at, at + length), afterMs: pieces.length + 1 });
        at += length;
      }
      return pieces;
    });
    const outcome = await ask(holding(address, count));
    if (outcome.type !== 'answer') continue;
    answers += 1;
    const expected = Array.from({ length: count }, (_, i) => 1_000 + address + i);
    const got = expected.map((_, i) => outcome.bytes.readUInt16BE(2 * i));
    if (JSON.stringify(got) !== JSON.stringify(expected)) t.fail(`seed ${seed}: ${got}`);
  }
  t.ok(answers > 1_000, `${answers} of about 1,125 right answers were found in the noise`);
});

const none: Buffer = Buffer.alloc(0);
