import t, { type Test } from 'tap';
import type { BytePort, BytesListener, ModemLines } from './byte-port.js';
import type { LineStatus } from './line-status.js';
import { PortPair } from './port-pair.js';
import { usualSettings } from './port-settings.js';
import { SerialLine, type SerialLineDeps, type SerialLineOptions } from './serial-line.js';

const never = new AbortController().signal;

/** What a driver was told, to be waited for, and the port it was given last. */
class TestDriver {
  readonly told: string[] = [];
  port: BytePort | undefined;
  listener: BytesListener = () => undefined;
  isDialogue = false;
  #wake: () => void = () => undefined;

  up(port: BytePort): void {
    this.port = port;
    port.onBytes((bytes) => this.listener(bytes));
    this.tell('up');
  }
  down(reason: string): void {
    this.tell(`down: ${reason}`);
  }
  suspended(reason: string): void {
    this.tell(`suspended: ${reason}`);
  }
  tell(event: string): void {
    this.told.push(event);
    this.#wake();
  }
  async until(isIt: (told: readonly string[]) => boolean): Promise<void> {
    while (!isIt(this.told)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  /** Told so many times so far. */
  times(event: string, count: number): Promise<void> {
    return this.until((told) => told.filter((one) => one.startsWith(event)).length >= count);
  }
}

const begin = (t: Test, options: Partial<SerialLineOptions> = {}, deps: SerialLineDeps = {}) => {
  const pair = new PortPair();
  const driver = new TestDriver();
  const states: LineStatus[] = [];
  const line = new SerialLine(
    { openPort: pair.openPort, onState: (status) => states.push(status), now: () => 7, ...deps },
    { name: 'line-1', address: { path: 'memory' }, retryDelayMs: () => 1, ...options },
  );
  line.listen(driver);
  t.teardown(() => line.close());
  return { pair, driver, states, line };
};

const arrived = (pair: PortPair): Promise<string> =>
  new Promise((resolve) => pair.far.onBytes((bytes) => resolve(bytes.toString())));

t.test('gives its driver the port, and what passes is counted and shown', async (t) => {
  const { pair, driver, line } = begin(t);
  const seen: string[] = [];
  line.tap(() => {
    throw new Error('whoever listens in is nothing to the line');
  });
  const end = line.tap((direction, bytes, at) => {
    seen.push(`${direction} ${bytes.toString()} ${at}`);
  });
  t.equal(line.status.state.state, 'down');
  line.open();
  line.open();
  await driver.times('up', 1);
  const heard = new Promise<string>((resolve) => {
    driver.listener = (bytes) => resolve(bytes.toString());
  });
  pair.far.write('hello');
  t.equal(await heard, 'hello');
  const down = arrived(pair);
  await driver.port?.write(Buffer.from('welcome'));
  t.equal(await down, 'welcome');
  t.same(seen, ['in hello 7', 'out welcome 7']);
  end();
  pair.far.write('unseen');
  await driver.port?.drain();
  t.equal(seen.length, 2);
  await t.rejects(async () => driver.port?.write(Buffer.alloc(70_000)), {
    code: 'SERIAL_LINE_BUSY',
  });
  t.match(line.status, { state: { state: 'up' }, path: 'memory', opened: 1, bytesOut: 7 });
});

t.test('comes back after its port went, wherever it is found then', async (t) => {
  let path = '/dev/ttyUSB0';
  const opened: string[] = [];
  const pair = new PortPair();
  const { driver, line, states } = begin(
    t,
    { address: { usb: '2341:0043' }, settings: { baudRate: 9_600 } },
    {
      findPort: async () =>
        path === '' ? { reason: 'it is not there', next: 'plug it in' } : { path },
      openPort: (at, settings) => {
        opened.push(`${at} ${settings.baudRate}`);
        return pair.openPort(at, settings);
      },
    },
  );
  line.open();
  await driver.times('up', 1);
  path = '';
  pair.unplug('the cable was pulled');
  await driver.times('down', 1);
  t.equal(driver.told.at(-1), 'down: the cable was pulled');
  await t.rejects(async () => driver.port?.write(Buffer.from('x')), { code: 'SERIAL_LINE_DOWN' });
  while (!states.some(({ state }) => state.state === 'down' && state.next === 'plug it in')) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  path = '/dev/ttyUSB1';
  pair.plug();
  await driver.times('up', 2);
  t.same(opened, ['/dev/ttyUSB0 9600', '/dev/ttyUSB1 9600']);
  t.match(line.status, { path: '/dev/ttyUSB1', opened: 2 });
  t.same(
    states.map(({ state }) => (state.state === 'up' ? 'up' : state.reason)),
    ['up', 'the cable was pulled', 'it is not there', 'up'],
    'each reason is told once, however often it is tried',
  );
});

t.test('says why its port is not opened', async (t) => {
  const { line, states } = begin(
    t,
    {},
    {
      openPort: async () => Promise.reject(new Error('Permission denied')),
      explain: async (path, error) => ({ reason: `${path}: ${String(error)}`, next: 'do this' }),
    },
  );
  line.open();
  while (states.length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(line.status.state, { state: 'down', reason: /Permission denied/, next: 'do this' });
});

t.test('reads nothing more while its driver is behind', async (t) => {
  const { pair, driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  let go: () => void = () => undefined;
  const got: string[] = [];
  driver.listener = (bytes) => {
    got.push(bytes.toString());
    driver.tell('bytes');
    return new Promise((resolve) => {
      go = resolve;
    });
  };
  pair.far.write('a');
  pair.far.write('b');
  await driver.times('bytes', 1);
  await driver.port?.write(Buffer.from('the other way is free'));
  t.same(got, ['a']);
  go();
  await driver.times('bytes', 2);
  t.same(got, ['a', 'b']);
  // A line that goes meanwhile is not held up by its driver.
  pair.unplug();
  await driver.times('down', 1);
});

t.test('a flood costs no more than its budget, a dialogue is never held up', async (t) => {
  const { pair, driver, line } = begin(t, { maxBytesPerSecond: 100_000 });
  line.open();
  await driver.times('up', 1);
  let bytes = 0;
  driver.listener = (chunk) => {
    bytes += chunk.length;
    if (bytes >= 150_000) driver.tell('all');
  };
  const begun = performance.now();
  for (let i = 0; i < 15; i += 1) pair.far.write(Buffer.alloc(10_000));
  await driver.times('all', 1);
  t.ok(performance.now() - begun > 300, 'a second is there at once, half a second had to come');

  const quick = begin(t);
  quick.driver.isDialogue = true;
  quick.line.open();
  await quick.driver.times('up', 1);
  let pieces = 0;
  quick.driver.listener = () => {
    pieces += 1;
    if (pieces === 1_000) quick.driver.tell('all');
  };
  const pauses = t.capture(globalThis, 'setTimeout', globalThis.setTimeout);
  for (let i = 0; i < 1_000; i += 1) quick.pair.far.write('x');
  await quick.driver.times('all', 1);
  t.same(pauses(), [], 'after a hundred pieces a second it would pause');
});

t.test('a driver that fails costs its own line alone, which begins anew', async (t) => {
  const { pair, driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  driver.listener = async () => Promise.reject(new Error('a mistake'));
  pair.far.write('x');
  await driver.times('down', 1);
  t.match(driver.told.at(-1), /a mistake/);
  await driver.times('up', 2);
});

t.test('is lent to one at a time, and given back as it was', async (t) => {
  const { pair, driver, line } = begin(t, { settings: { parity: 'even' } });
  const settings: string[] = [];
  const lines: Required<ModemLines>[] = [];
  const seen: string[] = [];
  pair.far.onSettings(({ baudRate, parity }) => settings.push(`${baudRate} ${parity}`));
  pair.far.onModemLines((moved) => lines.push(moved));
  line.tap((direction, bytes) => seen.push(`${direction} ${bytes.toString()}`));
  line.open();
  await driver.times('up', 1);
  const former = driver.port;
  let lent: BytePort | undefined;
  const result = await line.takeOver(
    async (port, _signal, show) => {
      lent = port;
      t.same(driver.told.at(-1), 'suspended: flashing 2.0');
      t.match(line.status.state, { state: 'suspended', reason: 'flashing 2.0' });
      t.equal(await former?.gone, 'line-1: flashing 2.0', 'the driver is told by its port too');
      await t.rejects(async () => former?.write(Buffer.from('x')), { code: 'SERIAL_LINE_BUSY' });
      await port.change({ baudRate: 57_600, parity: 'none' });
      await port.setModemLines({ dtr: false });
      show({ stage: 'write', doneBytes: 5, totalBytes: 10 });
      t.match(line.status.state, { progress: { stage: 'write', doneBytes: 5 } });
      const heard = new Promise<string>((resolve) => {
        port.onBytes((bytes) => resolve(bytes.toString()));
      });
      pair.far.onBytes(() => pair.far.write('ok'));
      await port.write(Buffer.from('knock'));
      return await heard;
    },
    { reason: 'flashing 2.0', signal: never },
  );
  t.equal(result, 'ok');
  t.same(driver.told, ['up', 'suspended: flashing 2.0', 'up'], 'the line never was down');
  t.not(driver.port, former);
  await t.rejects(async () => lent?.write(Buffer.from('late')), { code: 'SERIAL_LINE_BUSY' });
  t.same(settings, ['115200 even', '57600 none', '115200 even']);
  t.same(lines.at(-1), { dtr: true, rts: true });
  t.same(seen, ['out knock', 'in ok'], 'whoever listens in sees it too');
  t.equal(line.status.opened, 1);
});

t.test('a driver that is behind holds up nobody who takes the line', async (t) => {
  const { pair, driver, line } = begin(t, { maxBytesPerSecond: 1_000 });
  line.open();
  await driver.times('up', 1);
  driver.listener = () => {
    driver.tell('bytes');
    return new Promise(() => undefined);
  };
  pair.far.write('x'.repeat(50_000));
  await driver.times('bytes', 1);
  const heard = await line.takeOver(
    (port) =>
      new Promise((resolve) => {
        port.onBytes((bytes) => resolve(bytes.toString()));
        pair.far.write('boot');
      }),
    { reason: 'flashing', signal: never },
  );
  t.equal(heard, 'boot');
});

t.test('those who want it wait for their turn, and the driver for all of them', async (t) => {
  const { driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  const order: string[] = [];
  let endFirst: () => void = () => undefined;
  const first = line.takeOver(
    async () => {
      order.push('first');
      await new Promise<void>((resolve) => {
        endFirst = resolve;
        driver.tell('first has it');
      });
    },
    { reason: 'one', signal: never },
  );
  const impatient = new AbortController();
  const second = line.takeOver(async () => order.push('second'), {
    reason: 'two',
    signal: impatient.signal,
  });
  const third = line.takeOver(async () => order.push('third'), { reason: 'three', signal: never });
  await driver.times('first has it', 1);
  impatient.abort(new Error('enough'));
  await t.rejects(second, { message: 'enough' });
  t.same(order, ['first']);
  endFirst();
  await Promise.all([first, third]);
  t.same(order, ['first', 'third']);
  t.same(driver.told.filter((one) => one === 'up').length, 2, 'not in between');
});

t.test('who wants a line that is away has it before its driver', async (t) => {
  const { pair, driver, line } = begin(t);
  pair.unplug();
  line.open();
  const taken = line.takeOver(async () => driver.tell('taken'), {
    reason: 'flashing',
    signal: never,
  });
  pair.plug();
  await taken;
  await driver.times('up', 1);
  t.same(driver.told, ['suspended: flashing', 'taken', 'up']);
});

t.test('a line that goes ends what was done with it', async (t) => {
  const { pair, driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  let told: AbortSignal | undefined;
  const work = line.takeOver(
    (port, signal) => {
      told = signal;
      driver.tell('taken');
      return new Promise((_, reject) => {
        void port.gone.then(() => reject(new Error('whatever it makes of it')));
      });
    },
    { reason: 'flashing', signal: never },
  );
  await driver.times('taken', 1);
  pair.unplug('the cable was pulled');
  await t.rejects(work, { code: 'SERIAL_LINE_DOWN', message: /the cable was pulled/ });
  t.ok(told?.aborted);
  await driver.times('down', 1);
  pair.plug();
  await driver.times('up', 2);
});

t.test('what fails with a line that stays is its own affair', async (t) => {
  const { driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  const failed = line.takeOver(async () => Promise.reject(new Error('no boot loader')), {
    reason: 'flashing',
    signal: never,
  });
  await t.rejects(failed, { message: 'no boot loader' });
  await driver.times('up', 2);
  const stop = new AbortController();
  const stopped = line.takeOver(
    (_port, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        stop.abort(new Error('stopped'));
      }),
    { reason: 'flashing', signal: stop.signal },
  );
  await t.rejects(stopped, { message: 'stopped' });
  await driver.times('up', 3);
});

t.test('closing ends everything, in whatever state', async (t) => {
  const { driver, line } = begin(t);
  line.open();
  await driver.times('up', 1);
  const held = line.takeOver(
    async (port) => {
      throw new Error(await port.gone);
    },
    { reason: 'flashing', signal: never },
  );
  const waiting = line.takeOver(async () => 'never', { reason: 'later', signal: never });
  const ended = Promise.all([
    t.rejects(held, { code: 'SERIAL_LINE_DOWN' }),
    t.rejects(waiting, { code: 'SERIAL_LINE_DOWN' }),
  ]);
  await driver.times('suspended', 1);
  await Promise.all([line.close(), line.close()]);
  await ended;
  t.match(driver.told.at(-1), /^down/);
  t.equal(line.status.state.state, 'down');
  const unopened = begin(t);
  await unopened.line.close();
  t.same(unopened.driver.told, []);
});

t.test('begins with the usual settings', (t) => {
  const { line } = begin(t, { settings: { baudRate: 9_600 } });
  t.same(line.status.settings, { ...usualSettings, baudRate: 9_600 });
  t.end();
});
