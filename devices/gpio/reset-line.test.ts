import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import type { ConfiguredLine } from './line-settings.js';
import { defaultPulseMs, findResetLine, resetLine } from './reset-line.js';
import { SimulatedGpio } from './simulated-gpio.js';

const pump: ConfiguredLine = {
  ...{ name: 'reset-pump', role: 'reset', chip: 'gpiochip0', line: 22 },
  ...{ activeLow: true, bias: 'as-is', pulseMs: 30 },
};

t.test('keeps the board in reset for a moment, and gives the line back', async (t) => {
  const gpio = new SimulatedGpio();
  const clock = new ManualClock();
  const line = resetLine({ gpio, wait: clock.wait }, pump);
  const pulsed = line.pulse(new AbortController().signal);
  await gpio.until(() => clock.waiting === 1);
  t.equal(gpio.shown(pump), true);
  clock.advance(defaultPulseMs);
  await pulsed;
  t.same(
    gpio.sets.map(([, isOn]) => isOn),
    [true, false],
  );
  t.equal(gpio.shown(pump), undefined);
});

t.test('nobody waits any longer, and the board runs all the same', async (t) => {
  const gpio = new SimulatedGpio();
  const clock = new ManualClock();
  const abort = new AbortController();
  const pulsed = resetLine({ gpio, wait: clock.wait }, pump).pulse(abort.signal);
  await gpio.until(() => clock.waiting === 1);
  abort.abort(new Error('enough'));
  await t.rejects(pulsed, /enough/);
  t.same(gpio.sets.at(-1), ['gpiochip0 22', false]);
});

t.test('is found by its name and role', async (t) => {
  const find = findResetLine({ gpio: new SimulatedGpio() }, [
    pump,
    { ...pump, name: 'x', role: 'input' },
  ]);
  t.ok(find('reset-pump'));
  t.throws(() => find('x'), { code: 'CONFIGURATION_INVALID', message: /reset-pump/ });
});
