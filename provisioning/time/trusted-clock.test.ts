import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ManualMachine } from './manual-machine.js';
import { openClock, type TrustedClock, type TrustedClockOptions } from './trusted-clock.js';

const noon = Date.UTC(2026, 0, 20, 12);
const day = 86_400_000;

const fixture = async (t: Test, options: Partial<TrustedClockOptions> = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-clock-'));
  const path = join(folder, 'clock.json');
  const machine = new ManualMachine(noon);
  const said: string[] = [];
  const write = (_: object, message: string) => void said.push(message);
  const log = { info: write, warn: write, error: write };
  const opened: TrustedClock[] = [];
  t.teardown(async () => {
    for (const clock of opened) await clock.close();
    await rm(folder, { recursive: true });
  });
  const open = async () => {
    const clock = await openClock(
      { log, machine },
      { path, ntp: 'authenticated', floorMs: noon - day, builtMs: noon - 2 * day, ...options },
    );
    opened.push(clock);
    return clock;
  };
  return { machine, open, said, path };
};

t.test('after a reboot at 1970 it is at least the time at which it was last trusted', async (t) => {
  const { machine, open } = await fixture(t);
  machine.battery = noon;
  const clock = await open();
  t.equal(clock.trusted, true);
  machine.pass(3_600_000);
  await clock.close();
  machine.battery = null;
  machine.restart(7_000);
  const again = await open();
  t.equal(again.trusted, false);
  t.match(again.status(), { source: null, doubt: 'below_floor' });
  t.equal(again.now(), noon + 3_600_000);
});

t.test('a power cut costs the floor no more than its interval', async (t) => {
  const { machine, open } = await fixture(t);
  machine.battery = noon;
  const clock = await open();
  clock.receiveSigned(noon, 5);
  for (let minute = 0; minute < 100; minute++) {
    machine.pass(60_000);
    clock.tick();
  }
  // What is being written may be on its way still.
  await new Promise((resolve) => setImmediate(resolve));
  await clock.close();
  machine.battery = null;
  machine.restart(0);
  const again = await open();
  t.ok(again.now() > noon + 100 * 60_000 - 16 * 60_000);
});

t.test('signed time survives a restart of the program, not of the machine', async (t) => {
  const { machine, open } = await fixture(t);
  machine.system = 1_000;
  const clock = await open();
  clock.receiveSigned(noon, 5);
  t.equal(clock.trusted, true);
  t.equal(clock.now(), noon);
  await clock.close();
  machine.pass(30_000);
  const program = await open();
  t.equal(program.trusted, true);
  t.equal(program.now(), noon + 30_000);
  await program.close();
  machine.restart(1_000);
  t.equal((await open()).trusted, false);
});

t.test('believes the NTP that its policy allows', async (t) => {
  for (const [policy, authenticated, trusted] of [
    ['authenticated', true, true],
    ['authenticated', false, false],
    ['any', false, true],
    ['never', true, false],
  ] as const) {
    const { machine, open } = await fixture(t, { ntp: policy });
    machine.synchronised = { authenticated, errorMs: 3 };
    t.equal((await open()).trusted, trusted, `${policy}, ${authenticated}`);
  }
});

t.test('NTP confirms a jump when it is next asked', async (t) => {
  const { machine, open } = await fixture(t);
  machine.battery = noon;
  const clock = await open();
  machine.system += 90 * day;
  t.equal(clock.trusted, false, 'before anybody has looked');
  t.equal(clock.now(), noon);
  clock.tick();
  machine.synchronised = { authenticated: true, errorMs: 3 };
  await clock.look();
  t.equal(clock.trusted, true);
  t.equal(clock.now(), noon + 90 * day);
});

t.test(
  'tells the journal what the stamps of this boot mean, once it is there and until it is told',
  async (t) => {
    const { machine, open } = await fixture(t);
    machine.system = 1_000;
    const clock = await open();
    clock.receiveSigned(noon, 5);
    const told: object[] = [];
    let isFull = true;
    const journal = {
      clock: async (entry: object) => {
        if (isFull) throw new Error('the disk is full');
        told.push(entry);
      },
      doubted: async (entry: object) => void told.push(entry),
    };
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    clock.report(journal);
    await settle();
    t.same(told, []);
    isFull = false;
    clock.tick();
    await settle();
    t.same(told, [{ boot: 'start 1', offset: noon - 10_000, source: 'signed' }]);
    clock.tick();
    await settle();
    t.equal(told.length, 1);
    machine.system += day;
    clock.tick();
    await settle();
    t.same(told[1], { boot: 'start 1', reason: 'jumped', step: day });
    await clock.close();
    const again = await open();
    again.report(journal);
    await settle();
    t.equal(told.length, 2, 'a restart tells nothing twice');
  },
);

t.test('tells its parts when trust comes and goes', async (t) => {
  const { machine, open } = await fixture(t);
  const clock = await open();
  const seen: boolean[] = [];
  clock.onChange(() => seen.push(clock.trusted));
  clock.onChange(() => {
    throw new Error('a part that fails');
  });
  clock.receiveSigned(noon, 5);
  machine.system += day;
  clock.tick();
  t.same(seen, [true, false]);
});

t.test('says what a person may not set it to', async (t) => {
  const { machine, open } = await fixture(t);
  const clock = await open();
  t.throws(() => clock.assert(noon - 3 * day), { code: 'CLOCK_BELOW_FLOOR' });
  clock.assert(null);
  t.match(clock.status(), { trusted: true, source: 'operator' });
  machine.pass(day);
  clock.tick();
  t.equal(clock.status().floor, noon - day, 'which raises no floor');
  clock.receiveSigned(noon + day, 5);
  t.throws(() => clock.assert(noon + 2 * day), { code: 'RESOURCE_STATE_WRONG' });
});

t.test('a record that is lost costs the floor, not the start', async (t) => {
  const { machine, open, said, path } = await fixture(t);
  const clock = await open();
  clock.receiveSigned(noon, 5);
  await clock.close();
  await writeFile(path, '{"fl');
  await rm(`${path}.previous`, { force: true });
  machine.restart(0);
  const again = await open();
  t.equal(again.trusted, false);
  t.ok(said.includes('the record of the clock is lost'));
});

t.test('says by how much it was wrong, and from when to when, once it knows', async (t) => {
  const { machine, open } = await fixture(t);
  machine.system = 1_000;
  const clock = await open();
  const corrections: object[] = [];
  clock.onCorrected((correction) => corrections.push(correction));
  t.equal(clock.now(), noon - day);
  machine.pass(5_000);
  clock.noticeSigned(noon);
  machine.pass(5_000);
  clock.receiveSigned(noon + 10 * day, 5);
  t.same(corrections, [
    { from: noon - day, to: noon - day + 5_000, step: day - 5_000 },
    { from: noon - 5_000, to: noon + 5_000, step: 10 * day - 5_000 },
  ]);
  machine.system += day;
  clock.tick();
  machine.pass(5_000);
  clock.receiveSigned(clock.now(), 5);
  t.equal(corrections.length, 2, 'where time went on as it should nothing is corrected');
});
