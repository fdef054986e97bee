import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { IoLines } from './io-lines.js';
import { retryAfterMs } from './kept-line.js';
import { type ConfiguredLine, checkLines, ioLinesOf } from './line-settings.js';
import { decideRelay, noContact, type RelayState } from './relay-decision.js';
import { SimulatedGpio } from './simulated-gpio.js';

const at = { chip: 'gpiochip0', activeLow: false, bias: 'as-is' } as const;
const heater: ConfiguredLine = { ...at, name: 'heater', role: 'relay', line: 17, safe: 'off' };
const door: ConfiguredLine = { ...at, name: 'door', role: 'input', line: 4 };
const meter: ConfiguredLine = { ...at, name: 'meter', role: 'counter', line: 5, everyS: 10 };

const rules = { safe: false, safeAfterMs: 60_000, minOnMs: 1_000, minOffMs: 2_000 };
const idle: RelayState = {
  ...{ wanted: null, hold: null, silentSince: null, isOn: false, changedAt: 0 },
};

t.test('a relay is what is wanted, and safe where that is not known', async (t) => {
  const now = 10_000;
  t.same(decideRelay(rules, { ...idle, isOn: null }, now), {
    ...{ isOn: false, held: null, againInMs: null },
  });
  t.equal(decideRelay(rules, { ...idle, wanted: true }, now).isOn, true);
  t.equal(decideRelay({ ...rules, safe: true }, { ...idle, isOn: null }, now).isOn, true);
});

t.test('a relay is not rattled', async (t) => {
  const on: RelayState = { ...idle, isOn: true, wanted: false, changedAt: 10_000 };
  t.match(decideRelay(rules, on, 10_400), { isOn: true, againInMs: 600 });
  t.match(decideRelay(rules, on, 11_000), { isOn: false });
  const off: RelayState = { ...idle, wanted: true, changedAt: 10_000 };
  t.match(decideRelay(rules, off, 11_000), { isOn: false, againInMs: 1_000 });
});

t.test('safety waits for nothing, and is told why', async (t) => {
  const on: RelayState = { ...idle, isOn: true, wanted: true, changedAt: 10_000 };
  t.match(decideRelay(rules, { ...on, hold: 'fenced' }, 10_001), { isOn: false, held: 'fenced' });
  const silent = { ...on, silentSince: 20_000 };
  t.match(decideRelay(rules, silent, 50_000), { isOn: true, againInMs: 30_000 });
  t.match(decideRelay(rules, silent, 80_000), { isOn: false, held: noContact });
  t.match(decideRelay({ ...rules, safeAfterMs: 0 }, silent, 800_000), { isOn: true, held: null });
});

/** Lines in the test's hand, and what they say. */
const begin = (t: Test, lines: readonly ConfiguredLine[], totals = new Map<string, number>()) => {
  const clock = new ManualClock();
  const gpio = new SimulatedGpio();
  const measured: (readonly [string, number])[] = [];
  let waitsForDisk: Error | undefined;
  const io = new IoLines(
    {
      gpio,
      totals: {
        read: async (name) => {
          if (waitsForDisk !== undefined) throw waitsForDisk;
          return totals.get(name) ?? 0;
        },
        keep: async (name, total) => {
          if (waitsForDisk !== undefined) throw waitsForDisk;
          totals.set(name, total);
        },
      },
      changed: () => undefined,
      measured: (series, value) => measured.push([series, value]),
      log: { info: () => undefined, warn: () => undefined },
      monotonic: clock.monotonic,
      wait: clock.wait,
    },
    { lines: ioLinesOf(lines) },
  );
  t.teardown(() => io.close());
  io.open();
  /** Everything that was begun is done, and waits. */
  const rest = async (): Promise<void> => {
    for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const pass = async (ms: number): Promise<void> => {
    await rest();
    clock.advance(ms);
    await rest();
  };
  const refuseDisk = (error: Error | undefined): void => {
    waitsForDisk = error;
  };
  return { io, gpio, clock, measured, totals, rest, pass, refuseDisk };
};

t.test('a relay is safe at start, follows the shadow, and is safe at the end', async (t) => {
  const { io, gpio, rest, pass } = begin(t, [heater]);
  await rest();
  t.equal(gpio.shown(heater), false);
  t.same(io.reported, { heater: false });
  await pass(5_000);
  io.desire({ heater: true, other: 5 });
  await rest();
  t.equal(gpio.shown(heater), true);
  t.same(io.reported, { heater: true });
  io.desire({ heater: 'on' });
  await pass(1_000);
  t.same(io.reported, {
    heater: false,
    problems: { heater: 'a relay is desired true or false' },
  });
  io.desire({ heater: true });
  await pass(1_000);
  t.equal(gpio.shown(heater), true);
  await io.close();
  t.same(gpio.sets.at(-1), ['gpiochip0 17', false]);
  t.equal(gpio.shown(heater), undefined, 'given back');
});

t.test('a relay goes safe without contact, and back with it', async (t) => {
  const { io, gpio, pass } = begin(t, [
    heater,
    { ...heater, name: 'fan', line: 18, safeAfterS: 0 },
  ]);
  await pass(5_000);
  io.desire({ heater: true, fan: true });
  await pass(5_000);
  io.contact(false);
  await pass(59_999);
  t.equal(gpio.shown(heater), true);
  await pass(1);
  t.equal(gpio.shown(heater), false);
  t.equal(gpio.shown({ chip: 'gpiochip0', line: 18 }), true, 'of this one nobody said so');
  t.match(io.states(), [{ name: 'heater', state: 'off (safe: no contact)' }, { state: 'on' }]);
  io.contact(true);
  await pass(1_000);
  t.equal(gpio.shown(heater), true);
  io.hold('another gateway owns the site');
  await pass(0);
  t.equal(gpio.shown(heater), false, 'at once');
});

t.test(
  'a relay whose line is lost is told, and is what it was wanted when it is back',
  async (t) => {
    const { io, gpio, pass } = begin(t, [heater]);
    await pass(5_000);
    io.desire({ heater: true });
    await pass(0);
    gpio.break(heater);
    await pass(0);
    t.same(io.reported, { problems: { heater: 'gpiochip0 17 is not there' } });
    gpio.mend(heater);
    await pass(retryAfterMs);
    t.same(io.reported, { heater: true });
    t.equal(gpio.shown(heater), true);
  },
);

t.test('a relay is safe at the end though its line was lost just before', async (t) => {
  const { io, gpio, pass } = begin(t, [heater]);
  await pass(5_000);
  io.desire({ heater: true });
  await pass(0);
  // A service that is stopped: the signal reaches the tool that holds the line, too.
  gpio.lose(heater);
  await pass(0);
  await io.close();
  t.same(gpio.sets.at(-1), ['gpiochip0 17', false]);
  t.equal(gpio.shown(heater), undefined, 'given back');
});

t.test(
  'an input is reported once it has settled; one that never does is told once a second',
  async (t) => {
    const { io, gpio, measured, pass, rest } = begin(t, [door]);
    await rest();
    t.same(measured.splice(0), [['door', 0]], 'as it was found');
    gpio.drive(door, true);
    await rest();
    t.same(measured.splice(0), [['door', 1]]);
    t.same(io.reported, { door: true });
    for (let n = 0; n < 10_000; n += 1) gpio.drive(door, n % 2 === 1);
    await rest();
    t.ok(measured.splice(0).length <= 10, 'no more than a few');
    await pass(1_000);
    t.match(measured, [
      ['door', 1],
      ['door.changes', Number],
    ]);
  },
);

t.test('a counter keeps its total in batches and over restarts', async (t) => {
  const totals = new Map([['meter', 100]]);
  const { gpio, measured, pass, rest, refuseDisk, io } = begin(t, [meter], totals);
  await gpio.until(() => gpio.isWatched(meter));
  for (let n = 0; n < 5; n += 1) gpio.drive(meter, true, false);
  await rest();
  t.same(measured, [], 'not a write for every pulse');
  await pass(10_000);
  t.same(measured, [['meter', 105]]);
  t.equal(totals.get('meter'), 105);
  refuseDisk(new Error('the disk is full'));
  gpio.drive(meter, true, false);
  await pass(10_000);
  t.match(io.states(), [{ problem: 'the disk is full', state: '106' }]);
  refuseDisk(undefined);
  await pass(10_000);
  t.equal(totals.get('meter'), 106, 'none is lost');
  gpio.drive(meter, true);
  await io.close();
  t.equal(totals.get('meter'), 107, 'at the end too');
});

t.test('a counter counts before its total can be read', async (t) => {
  const totals = new Map([['meter', 100]]);
  const { gpio, measured, pass, refuseDisk, io } = begin(t, [meter], totals);
  refuseDisk(new Error('the disk is away'));
  await pass(0);
  t.ok(gpio.isWatched(meter));
  gpio.drive(meter, true, false, true);
  await pass(10_000);
  t.match(io.states(), [{ problem: 'the disk is away', state: 'not read yet' }]);
  refuseDisk(undefined);
  await pass(10_000);
  t.same(measured, [['meter', 102]]);
  t.match(io.states(), [{ problem: null }]);
});

t.test('refuses lines that cannot stand together', async (t) => {
  const refuses = (lines: readonly ConfiguredLine[], message: RegExp) =>
    t.throws(() => checkLines(lines), { code: 'CONFIGURATION_INVALID', message });
  refuses([heater, { ...door, line: 17 }], /gpiochip0 17 is named twice/);
  refuses([heater, { ...door, name: 'heater' }], /two lines are called heater/);
  refuses([{ ...door, safe: 'on' }], /door: safe is nothing for the role input/);
  const { safe: _, ...bare } = heater;
  refuses([bare], /say what is safe/);
  refuses([{ ...door, name: 'front door' }], /\[A-Za-z0-9_-\]/);
  checkLines([heater, door, meter, { ...door, name: 'front door', role: 'status-led', line: 9 }]);
});
