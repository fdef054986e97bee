import t from 'tap';
import { PortPair } from '../serial/port/port-pair.js';
import type { PortSettings } from '../serial/port/port-settings.js';
import { findSettings } from './find-settings.js';
import { SimulatedUnit } from './simulated-unit.js';
import { systemTimers as timers } from './timers.js';

const { signal } = new AbortController();

const begin = (speaks: Partial<PortSettings>) => {
  const pair = new PortPair();
  const unit = new SimulatedUnit({ unit: 5, has: (address) => address > 0 });
  let isUnderstood = false;
  pair.far.onSettings((settings) => {
    isUnderstood = Object.entries(speaks).every(
      ([name, value]) => settings[name as keyof PortSettings] === value,
    );
  });
  pair.far.onBytes((request) => {
    const answer = unit.answerRtu(request);
    if (answer !== null) pair.far.write(isUnderstood ? answer : Buffer.of(0x00, 0xf8));
  });
  return pair.open();
};

t.test('finds how a unit speaks, were it only to say no', async (t) => {
  const port = begin({ baudRate: 19_200, parity: 'even' });
  const found = await findSettings({ port, timers }, { unit: 5, timeoutMs: 20, signal });
  t.match(found, {
    settings: { baudRate: 19_200, parity: 'even', dataBits: 8, stopBits: 1 },
    said: 'exception 2 (illegal data address)',
  });
});

t.test('finds nothing where nobody is', async (t) => {
  const port = begin({ baudRate: 19_200 });
  t.equal(await findSettings({ port, timers }, { unit: 6, timeoutMs: 10, signal }), null);
});
