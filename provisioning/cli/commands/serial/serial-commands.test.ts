import type { SerialAnswer, SerialLineRow, SerialMonitorLine } from '@holdfast/protos/local/serial';
import t from 'tap';
import { Terminal } from '../../terminal.js';
import { stateText } from './line-text.js';
import { monitorLine } from './monitor.js';
import { showSerial } from './show-serial.js';

const screen = ({ isJson = false } = {}) => {
  const out: string[] = [];
  const error: string[] = [];
  const terminal = new Terminal({
    out: { write: (text) => out.push(...text.trimEnd().split('\n')) },
    error: { write: (text) => error.push(text.trimEnd()) },
    isJson,
    environment: {},
  });
  return { terminal, out, error };
};

const row: SerialLineRow = {
  ...{ name: 'pump-1', driver: 'json-lines', address: 'usb 2341:0043', path: '/dev/ttyACM0' },
  ...{ state: 'up', since: 1, reason: null, next: null, progress: null, baud_rate: 115_200 },
  ...{ opened: 1, bytes_in: 12_000, bytes_out: 900 },
  devices: [
    {
      device: 'pump-1',
      online: true,
      dropped_frames: 2,
      discarded_bytes: 70,
      others: {},
      flash: null,
    },
  ],
};
const down: SerialLineRow = {
  ...row,
  ...{ name: 'scale', address: 'usb 1a86:7523', path: null, state: 'down' },
  ...{ reason: 'no port has the USB id 1a86:7523', next: 'plug it in' },
};
const flashing: SerialLineRow = {
  ...row,
  ...{ state: 'suspended', reason: 'flashing 2.0.0' },
  progress: { stage: 'write', done_bytes: 2_000, total_bytes: 5_000 },
};

t.test('every port is in one table, used or not, and lines that are away too', (t) => {
  const answer: SerialAnswer = {
    lines: [row, down],
    ports: [
      {
        ...{ path: '/dev/ttyACM0', address: 'usb 2341:0043', driver: 'cdc_acm', line: 'pump-1' },
        usb: { id: '2341:0043', serial: '85', title: 'Arduino', socket: '1-2' },
      },
      { path: '/dev/ttyS0', address: '/dev/ttyS0', driver: 'serial8250', usb: null, line: null },
    ],
  };
  const { terminal, out } = screen();
  showSerial(terminal, answer);
  t.match(
    out[1],
    /\/dev\/ttyACM0 +2341:0043 Arduino +pump-1 +json-lines +up +12.0 kB +900 B +2 \(70 B/,
  );
  t.match(out[2], /\/dev\/ttyS0 .* not used/);
  t.match(out[3], /usb 1a86:7523 .* scale .* down/);
  t.same(out.slice(-2), ['✗ scale: no port has the USB id 1a86:7523', '  next: plug it in']);
  const programs = screen({ isJson: true });
  showSerial(programs.terminal, answer);
  t.same(JSON.parse(programs.out.join('')), answer);
  const none = screen();
  showSerial(none.terminal, { lines: [], ports: [] });
  t.match(none.out, [/no serial port/]);
  t.end();
});

t.test('a line is said in a few words, whatever its state', (t) => {
  const silent = { ...row, devices: row.devices.map((one) => ({ ...one, online: false })) };
  t.equal(stateText(row), 'up');
  t.equal(stateText(silent), 'up, the device is silent');
  t.equal(stateText(down), 'down: no port has the USB id 1a86:7523 (plug it in)');
  t.equal(stateText(flashing), 'flashing 2.0.0 (write 40 %)');
  t.end();
});

const told: readonly SerialMonitorLine[] = [
  { monitoring: { line: 'pump-1', state: 'up' } },
  { at: 0, direction: 'in', data: Buffer.from('{"t":"po').toString('base64') },
  { at: 5, direction: 'in', data: Buffer.from('ng"}\n').toString('base64') },
  { alive: 9 },
  { missed: { bytes_in: 5, bytes_out: 0 } },
  { state: 'suspended', reason: 'flashing 2.0.0' },
  { at: 7, direction: 'out', data: Buffer.from('0 ').toString('base64') },
];

const gateway = (asked: string[]) => ({
  lines: async function* (path: string) {
    asked.push(path);
    yield* told;
  },
});

t.test('a monitor shows text, and what else there is to know', async (t) => {
  const { terminal, out, error } = screen();
  const asked: string[] = [];
  const { signal } = new AbortController();
  await monitorLine({ terminal, signal }, gateway(asked), 'pump-1', { direction: 'in' });
  t.same(asked, ['/serial/lines/pump-1/monitor?direction=in']);
  t.same(
    out,
    [
      '00:00:00.000 ← {"t":"pong"}',
      '! 5 bytes in and 0 out passed unseen: this end is too slow',
      '00:00:00.007 → 0 ',
    ].map((line) => line.trimEnd()),
  );
  t.match(error, [/pump-1 is up/, 'the line is suspended: flashing 2.0.0', /gateway ended it/]);
});

t.test('a monitor for programs gives what it is told, but no signs of life', async (t) => {
  const { terminal, out, error } = screen({ isJson: true });
  const { signal } = new AbortController();
  await monitorLine({ terminal, signal }, gateway([]), 'pump-1', {});
  t.same(
    out.map((line) => JSON.parse(line) as unknown),
    told.filter((line) => !('alive' in line)),
  );
  t.same(error, []);
});

t.test('a monitor ends with Ctrl-C as if nothing had been, and with nothing else so', async (t) => {
  const stop = new AbortController();
  const broken = {
    lines: async function* () {
      yield told[0];
      throw new Error('the connection broke');
    },
  };
  const run = () =>
    monitorLine({ terminal: screen().terminal, signal: stop.signal }, broken, 'x', {});
  await t.rejects(run(), { message: 'the connection broke' });
  stop.abort();
  await run();
  const wrong = { direction: 'up' };
  await t.rejects(
    monitorLine({ terminal: screen().terminal, signal: stop.signal }, broken, 'x', wrong),
  );
});
