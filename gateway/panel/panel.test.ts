import type { GpioLines } from '@holdfast/devices/gpio/gpio-lines';
import { SimulatedGpio } from '@holdfast/devices/gpio/simulated-gpio';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { longHold, nextButton, press as shortPress } from './button.js';
import { faultsOf } from './faults.js';
import { type GatewayState, lightOf } from './light.js';
import { openPanel, Panel, type PanelLine } from './panel.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const led: PanelLine = {
  name: 'front',
  role: 'status-led',
  chip: 'gpiochip0',
  line: 17,
  activeLow: false,
  bias: 'as-is',
};
const button: PanelLine = { ...led, name: 'reset', role: 'restart-button', line: 4 };

/** A panel whose lines and time are in the test's hand. */
const begin = (t: Test, lines: readonly PanelLine[]) => {
  const clock = new ManualClock();
  const shown: boolean[] = [];
  const restarts: string[] = [];
  const paired: string[] = [];
  let state: GatewayState = { isLinkUp: true, faults: [] };
  let isBroken = false;
  let press: (isDown: boolean) => void = () => undefined;
  let isGiven = true;
  const gpio: GpioLines = {
    output: () => ({
      set: async (isOn) => {
        if (isBroken) throw new HoldfastError('GPIO_UNAVAILABLE', 'no such chip');
        isGiven = false;
        shown.push(isOn);
      },
      close: async () => {
        isGiven = true;
      },
    }),
    watch: (_, { edges }) => {
      press = (isOn) => edges([{ isOn, agoMs: 0 }]);
      const failed = new Promise<never>(() => undefined);
      return { ready: Promise.resolve(), failed, overruns: 0, close: async () => undefined };
    },
  };
  const panel = new Panel(
    {
      gpio,
      log,
      state: () => state,
      restart: async ({ name }) => void restarts.push(name),
      pair: async (name) => void paired.push(name),
      monotonic: clock.monotonic,
      wait: clock.wait,
    },
    { lines },
  );
  t.teardown(() => panel.close());
  panel.open();
  /** Moves on once everybody waits. */
  const pass = async (ms: number): Promise<void> => {
    while (clock.waiting < lines.length) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(ms);
    while (clock.waiting < lines.length) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    panel,
    clock,
    shown,
    restarts,
    paired,
    pass,
    become: (next: GatewayState) => {
      state = next;
    },
    breakLine: (broken: boolean) => {
      isBroken = broken;
    },
    press: (isDown: boolean) => press(isDown),
    isGiven: () => isGiven,
  };
};

t.test('a light says whether all is well, the WAN is away, or somebody has to look', async (t) => {
  t.equal(lightOf({ isLinkUp: true, faults: [] }), 'steady');
  t.equal(lightOf({ isLinkUp: false, faults: [] }), 'slow');
  t.equal(lightOf({ isLinkUp: true, faults: ['x'] }), 'fast');
  const { pass, shown, become, panel, isGiven } = begin(t, [led]);
  await pass(1_000);
  await pass(1_000);
  t.same(shown, [true, true, true], 'steady');
  become({ isLinkUp: false, faults: [] });
  shown.length = 0;
  await pass(1_000);
  await pass(1_000);
  await pass(999);
  t.same(shown, [false, true], 'slow: a second each');
  become({ isLinkUp: false, faults: ['a line is down'] });
  await pass(1);
  shown.length = 0;
  await pass(250);
  await pass(250);
  t.same(shown, [true, false], 'fast');
  await panel.close();
  t.ok(isGiven(), 'the line is given back');
});

t.test('a line that cannot be had is told and tried again', async (t) => {
  const { pass, panel, breakLine, shown } = begin(t, [led]);
  await pass(0);
  breakLine(true);
  await pass(1_000);
  t.match(panel.states(), [{ name: 'front', role: 'status-led', problem: 'no such chip' }]);
  breakLine(false);
  shown.length = 0;
  await pass(10_000);
  t.same(shown, [true]);
  t.match(panel.states(), [{ problem: null }]);
});

t.test('a button that is held has the gateway begin anew, and a touch does nothing', async (t) => {
  const { press, clock, restarts } = begin(t, [button]);
  press(true);
  clock.advance(200);
  press(false);
  t.same(restarts, []);
  press(true);
  clock.advance(longHold.leastMs);
  t.same(restarts, [], 'not before it is let go');
  press(false);
  t.same(restarts, ['reset']);
  press(false);
  t.equal(restarts.length, 1);
});

t.test('contacts that bounce, or that are stuck, are no hold', async (t) => {
  const run = (edges: readonly (readonly [isDown: boolean, at: number])[]): number => {
    let state: Parameters<typeof nextButton>[0] = null;
    let held = 0;
    for (const [isDown, at] of edges) {
      const decided = nextButton(state, isDown, at);
      state = decided.state;
      if (decided.isHeld) held += 1;
    }
    return held;
  };
  t.equal(run([[false, 10_000]]), 0, 'let go without having been pressed');
  t.equal(run([[true, 0], [true, 3], [false, longHold.leastMs]]), 1); // biome-ignore format: pairs
  t.equal(run([[true, 0], [false, 3], [true, 5], [false, longHold.leastMs + 4]]), 0); // biome-ignore format: pairs
  t.equal(run([[true, 0], [false, longHold.mostMs + 1]]), 0); // biome-ignore format: pairs
});

t.test('what is wrong at the site is counted', async (t) => {
  const well = {
    isFenced: false,
    lines: [{ name: 'press-1', isUp: true }],
    certificates: [{ name: 'link', state: 'due' } as const],
    firmwareProblem: undefined,
  };
  t.same(faultsOf(well), []);
  t.equal(faultsOf({ ...well, isFenced: true }).length, 1);
  t.match(faultsOf({ ...well, lines: [{ name: 'press-1', isUp: false }] }), [/press-1 is down/]);
  t.match(faultsOf({ ...well, certificates: [{ name: 'link', state: 'alarm' }] }), [/link/]);
  t.match(faultsOf({ ...well, firmwareProblem: 'the disk is full' }), [/full/]);
});

t.test('a pairing button is pressed, and not leant on', async (t) => {
  const { press, clock, paired, restarts } = begin(t, [{ ...button, role: 'pairing-button' }]);
  for (const heldMs of [shortPress.leastMs - 1, shortPress.mostMs + 1, 300]) {
    press(true);
    clock.advance(heldMs);
    press(false);
  }
  t.same([paired, restarts], [['reset'], []]);
});

t.test('while a device may join, the light says nothing else', async (t) => {
  t.equal(lightOf({ isLinkUp: false, faults: ['x'], isPairing: true }), 'flicker');
});

t.test('a machine that does not restart has its gateway begin anew at least', async (t) => {
  const gpio = new SimulatedGpio();
  const clock = new ManualClock();
  const begun: string[] = [];
  let isAllowed = true;
  const panel = openPanel(
    {
      ...{ gpio, clock, log, pair: async () => undefined },
      state: () => ({ isLinkUp: true, faults: [] }),
      beginAnew: () => begun.push('gateway'),
      restartMachine: async () => {
        if (!isAllowed) throw new Error('interactive authentication required');
        begun.push('machine');
      },
    },
    {
      lines: [
        { ...button, restarts: 'machine' },
        { ...led, name: 'heater', role: 'relay' },
      ],
    },
  );
  t.teardown(() => panel.close());
  panel.open();
  t.equal(panel.states().length, 1, 'relays are not of the panel');
  const hold = async (): Promise<void> => {
    gpio.drive(button, true);
    clock.advance(longHold.leastMs);
    gpio.drive(button, false);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await gpio.until(() => gpio.isWatched(button));
  await hold();
  isAllowed = false;
  await hold();
  t.same(begun, ['machine', 'gateway']);
});
