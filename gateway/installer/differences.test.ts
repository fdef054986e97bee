import t from 'tap';
import { differencesOf } from './differences.js';

const pump = { device: 'pump-1', path: '/dev/ttyUSB0', baudRate: 9600, flash: { reset: 'dtr' } };
const scale = { device: 'scale-1', path: '/dev/ttyUSB1', baudRate: 9600 };

t.test('says what is another in a list, by the name of its entry', async (t) => {
  const mended = { ...pump, baudRate: 115_200, flash: { reset: 'rts' } };
  t.same(differencesOf({ setting: 'serial.lines', from: [scale, pump], to: [scale, mended] }), [
    { setting: 'serial.lines[pump-1].baudRate', from: 9600, to: 115_200 },
    { setting: 'serial.lines[pump-1].flash.reset', from: 'dtr', to: 'rts' },
  ]);
});

t.test('says which entries come and go', async (t) => {
  t.same(differencesOf({ setting: 'serial.lines', from: [pump], to: [scale] }), [
    { setting: 'serial.lines[pump-1]', from: pump, to: undefined },
    { setting: 'serial.lines[scale-1]', from: undefined, to: scale },
  ]);
  t.same(differencesOf({ setting: 'serial.lines', from: [], to: [pump] }), [
    { setting: 'serial.lines[pump-1]', from: undefined, to: pump },
  ]);
});

t.test('shows a list of nameless entries, or with one name twice, as a whole', async (t) => {
  const whole = [
    { setting: 'names.hosts', from: ['a'], to: ['a', 'b'] },
    { setting: 'serial.lines', from: [pump], to: [pump, { ...pump, path: '/dev/ttyS0' }] },
    { setting: 'listen.httpsPort', from: 8443, to: 443 },
    { setting: 'serial.lines', from: [pump, scale], to: [scale, pump] },
    { setting: 'gpio.device', from: undefined, to: 'cabinet' },
  ];
  for (const change of whole) t.same(differencesOf(change), [change]);
});
