import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import { SimulatedSerialDevice } from '../../simulator/simulated-serial-device.js';
import { driveLine } from '../driven-line.js';
import { encodeFrame, parseDownFrame, type UpFrame } from '../frames.js';
import { PortPair } from '../port/port-pair.js';
import { openPseudoTerminal } from '../pseudo-terminal.js';
import type { SerialHandlers } from '../serial-driver.js';
import { jsonLines } from './json-lines.js';

/** What the gateway was told, to be waited for. */
class Told {
  readonly events: string[] = [];
  readonly #waiting: { wanted: string; resolve: () => void }[] = [];

  add(event: string): void {
    this.events.push(event);
    for (const wait of this.#waiting) if (event.startsWith(wait.wanted)) wait.resolve();
  }

  /** From now on. */
  next(wanted: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ wanted, resolve }));
  }
}

const image = randomBytes(10_000);

interface LineEnd {
  readonly write: (bytes: string | Uint8Array) => void;
  readonly onData: (listener: (chunk: Buffer) => void) => void;
}

interface NearOptions {
  readonly maxBytesPerSecond?: number;
  readonly driverOptions?: object;
}

/** On a pair in memory, or on the terminal that the path names. */
const gatewayEnd = (
  t: Test,
  near: PortPair | string,
  handlers: Partial<SerialHandlers> = {},
  options: NearOptions = {},
) => {
  const told = new Told();
  const all: SerialHandlers = {
    online: async (hello) => told.add(`online ${hello.id} ${hello.boot}`),
    welcomed: () => told.add('welcomed'),
    jobStatus: async (status) => told.add(`job_status ${JSON.stringify(status)}`),
    image: async ({ offset, length }) => image.subarray(offset, offset + length),
    offline: async () => told.add('offline'),
    telemetry: async (series, points) => told.add(`telemetry ${series} ${JSON.stringify(points)}`),
    reported: async (state) => told.add(`reported ${JSON.stringify(state)}`),
    response: async (response) => told.add(`response ${JSON.stringify(response)}`),
    desired: async () => ({ state: { interval_s: 5 }, version: 3 }),
    failed: () => told.add('failed'),
    time: () => ({ ts: 1_000, trusted: true }),
    ...handlers,
  };
  const driven = driveLine(
    {
      driver: jsonLines,
      devices: [{ id: 'pump-1', handlers: all, settings: undefined }],
      ...(typeof near === 'string' ? {} : { openPort: near.openPort }),
    },
    {
      name: 'pump-1',
      address: { path: typeof near === 'string' ? near : 'memory' },
      retryDelayMs: () => 20,
      ...options,
    },
  );
  t.teardown(() => driven.close());
  const [device] = driven.devices;
  if (device === undefined) throw new Error('no device');
  return { driven, device, told };
};

/** A device's end in the test's own hands. */
const deviceEnd = (pty: LineEnd) => {
  const lines: string[] = [];
  let rest = '';
  let wake: () => void = () => undefined;
  pty.onData((chunk) => {
    const parts = (rest + chunk.toString()).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    wake();
  });
  const next = async (kind: string) => {
    for (;;) {
      const line = lines.shift();
      if (line === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const frame = parseDownFrame(line)?.frame;
      if (frame?.t === kind) return frame;
    }
  };
  const say = (frame: UpFrame) => pty.write(encodeFrame(frame, false));
  return { next, say };
};

/** The first that arrives raw from now on, frames unread. */
const once = (pty: LineEnd, isWanted: (text: string) => boolean): Promise<string> =>
  new Promise((resolve) => {
    pty.onData((chunk) => {
      if (isWanted(chunk.toString())) resolve(chunk.toString());
    });
  });

const hello = { t: 'hello', id: 'pump-1', model: 'pump', version: '1.0', boot: 'b1' } as const;

const connected = async (
  t: Test,
  handlers: Partial<SerialHandlers> = {},
  options: NearOptions = {},
) => {
  const pair = new PortPair();
  const pty = pair.far;
  const far = deviceEnd(pty);
  const near = gatewayEnd(t, pair, handlers, options);
  near.driven.open();
  await far.next('who');
  far.say(hello);
  t.match(await far.next('welcome'), { id: 'pump-1', ts: 1_000, trusted: true, v: 1 });
  return { pair, pty, ...far, ...near };
};

t.test('acknowledges telemetry after it was taken, and names its points', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { say, next, told } = await connected(t, {
    telemetry: async (series, points) => {
      await held;
      told.add(`telemetry ${series} ${JSON.stringify(points)}`);
    },
  });
  say({ t: 'telemetry', series: 'flow', value: 1.5, seq: 7, ts: 5 });
  release();
  t.match(await next('ack'), { seq: 7 });
  t.equal(told.events.at(-1), 'telemetry flow [{"value":1.5,"ts":5,"boot":"b1","seq":7}]');
  say({ t: 'telemetry', series: 'flow', values: [{ value: 1 }, { value: 2 }], seq: 8 });
  t.match(await next('ack'), { seq: 8 });
  t.equal(
    told.events.at(-1),
    'telemetry flow [{"value":1,"boot":"b1","seq":8},{"value":2,"boot":"b1","seq":9}]',
  );
});

t.test('tells the time again when asked', async (t) => {
  const { say, next } = await connected(t);
  say({ t: 'time' });
  t.match(await next('time'), { ts: 1_000, trusted: true });
});

t.test(
  'takes points that came together at once, and in their order before what follows',
  async (t) => {
    const begun: string[] = [];
    let release: () => void = () => undefined;
    const all = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { pty, next } = await connected(t, {
      telemetry: async (series) => {
        begun.push(series);
        // None of them would end if they came one by one.
        if (begun.length === 3) release();
        await all;
      },
      reported: async () => {
        begun.push('reported');
      },
    });
    const points = ['a', 'b', 'c'].map((series, seq) =>
      encodeFrame({ t: 'telemetry', series, value: 1, seq }, false),
    );
    pty.write([...points, encodeFrame({ t: 'reported', state: {}, ref: 9 }, false)].join(''));
    for (const seq of [0, 1, 2]) t.match(await next('ack'), { seq });
    t.match(await next('ack'), { ref: 9 });
    t.same(begun, ['a', 'b', 'c', 'reported']);
  },
);

t.test('gives no answer while the store is away, and says no to what is wrong', async (t) => {
  let failure = new HoldfastError('STORE_FULL', 'full');
  const { say, next } = await connected(t, {
    telemetry: async () => {
      throw failure;
    },
  });
  say({ t: 'telemetry', series: 'flow', value: 1, seq: 1 });
  say({ t: 'get' });
  t.match(await next('desired'), { state: { interval_s: 5 }, version: 3 });
  failure = new HoldfastError('REQUEST_INVALID', 'no');
  say({ t: 'telemetry', series: 'flow', value: 1, seq: 2 });
  t.match(await next('nack'), { seq: 2, code: 'REQUEST_INVALID' });
});

t.test('passes commands and deltas down, reported state and responses up', async (t) => {
  const { say, next, told, device } = await connected(t);
  await device.sendCommand({ command_id: 'c1', type: 'ping', payload: null, expires_at: 9 });
  t.match(await next('command'), { command_id: 'c1', type: 'ping', expires_at: 9 });
  say({ t: 'response', command_id: 'c1', status: 'succeeded' });
  t.match(await next('ack'), { command_id: 'c1' });
  await device.sendDelta({ interval_s: 9 }, 4);
  t.match(await next('delta'), { state: { interval_s: 9 }, version: 4 });
  say({ t: 'reported', state: { interval_s: 9 }, ref: 1 });
  t.match(await next('ack'), { ref: 1 });
  t.same(told.events.slice(2), [
    'response {"command_id":"c1","status":"succeeded"}',
    'reported {"interval_s":9}',
  ]);
});

t.test('refuses the hello of another device, and what was said without one', async (t) => {
  const pair = new PortPair();
  const { next, say } = deviceEnd(pair.far);
  const { driven, device, told } = gatewayEnd(t, pair);
  driven.open();
  await next('who');
  say({ ...hello, id: 'pump-2' });
  t.match(await next('nack'), { code: 'NOT_AUTHORISED' });
  say({ t: 'telemetry', series: 'flow', value: 1, seq: 1 });
  say(hello);
  await next('welcome');
  t.same(told.events, ['online pump-1 b1', 'welcomed']);
  t.equal(device.counts.droppedFrames, 2);
});

t.test('finds its way after garbage and a flood', async (t) => {
  const { pty, say, next, device } = await connected(t, {}, { maxBytesPerSecond: 1 << 20 });
  for (let i = 0; i < 20; i += 1) pty.write(randomBytes(5_000));
  pty.write(Buffer.alloc(200_000, 'x'));
  pty.write('\n{"t":"telemetry","series":"flow"\n{"t":"nonsense"}\n');
  for (let seq = 0; seq < 500; seq += 1) say({ t: 'telemetry', series: 'flow', value: 1, seq });
  for (let seq = 0; seq < 500; seq += 1) t.match(await next('ack'), { seq });
  t.ok(device.counts.discardedBytes > 100_000);
  t.ok(device.isOnline);
});

t.test('a flood over the budget is read no faster than the budget', async (t) => {
  const { pty, say, next } = await connected(t, {}, { maxBytesPerSecond: 100_000 });
  const begun = performance.now();
  pty.write(Buffer.alloc(200_000, 'x'));
  pty.write('\n');
  say({ t: 'get' });
  await next('desired');
  t.ok(performance.now() - begun > 800, 'one second of budget was there, the other had to come');
});

t.test('takes no line without its checksum once the device promised one', async (t) => {
  const { pty, say, next } = await connected(t);
  pty.write(encodeFrame({ ...hello, boot: 'b2', crc: true }, true));
  await next('welcome');
  say({ t: 'telemetry', series: 'flow', value: 1, seq: 1 });
  pty.write(encodeFrame({ t: 'telemetry', series: 'flow', value: 1, seq: 2 }, true));
  t.match(await next('ack'), { seq: 2 });
});

t.test('a device that promises CRC-32 is held to it from its hello on, and gets it', async (t) => {
  const { pty, say, next, device } = await connected(t);
  const strong: UpFrame = { ...hello, boot: 'b2', crc: 32 };
  for (const weak of [false, true]) pty.write(encodeFrame(strong, weak));
  pty.write(encodeFrame(strong, 32));
  await next('welcome');
  t.equal(device.counts.droppedFrames, 2);
  const point = { t: 'telemetry', series: 'flow', value: 1 } as const;
  say({ ...point, seq: 1 });
  pty.write(encodeFrame({ ...point, seq: 2 }, true));
  pty.write(encodeFrame({ ...hello, boot: 'b3', crc: true }, true));
  const answer = once(pty, (text) => text.includes('"ack"'));
  pty.write(encodeFrame({ ...point, seq: 3 }, 32));
  t.match(await answer, /^\{"t":"ack","seq":3\}\*[0-9A-F]{8}\n$/);
});

t.test('a silent device is pinged, then offline, and back with its next hello', async (t) => {
  // Far apart: on a busy machine the silence must not outrun the ping.
  const { say, next, told } = await connected(
    t,
    {},
    { driverOptions: { pingAfterMs: 60, offlineAfterMs: 1_500 } },
  );
  const offline = told.next('offline');
  await next('ping');
  say({ t: 'pong' });
  await offline;
  await next('who');
  const online = told.next('online');
  say(hello);
  await online;
});

t.test('a vanished line is offline, and online when it is back', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-serial-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const link = join(directory, 'tty');
  const { driven, device, told } = gatewayEnd(t, link);
  driven.open();
  const first = await openPseudoTerminal({ link });
  const firstOnline = told.next('online');
  const one = new SimulatedSerialDevice({ line: first }, { id: 'pump-1', telemetryIntervalMs: 10 });
  one.open();
  await firstOnline;
  const offline = told.next('offline');
  await first.close();
  await offline;
  await t.rejects(device.sendDelta({}, 1), { code: 'SERIAL_LINE_DOWN' });
  const back = told.next('online');
  const second = await openPseudoTerminal({ link });
  t.teardown(() => second.close());
  one.attach(second);
  t.teardown(() => one.close());
  await back;
});

t.test('the simulated device keeps what was not acknowledged', async (t) => {
  const pty = await openPseudoTerminal();
  t.teardown(() => pty.close());
  const seen = new Set<number>();
  const wanted = Array.from({ length: 20 }, (_, seq) => seq);
  let frames = 0;
  const done = new Promise<void>((resolve) => {
    const { driven } = gatewayEnd(t, pty.path, {
      desired: async () => ({ state: { interval_s: 0.005 }, version: 1 }),
      telemetry: async (_series, points) => {
        frames += 1;
        if ([3, 5].includes(frames)) throw new HoldfastError('STORE_FULL', 'full');
        for (const { seq = -1 } of points) seen.add(seq);
        // What had to wait for the window comes later than what came after it: count, do not compare.
        if (wanted.every((seq) => seen.has(seq))) resolve();
      },
    });
    driven.open();
  });
  const far = new SimulatedSerialDevice(
    { line: pty },
    { id: 'pump-1', telemetryIntervalMs: 5, resendAfterMs: 30 },
  );
  far.open();
  t.teardown(() => far.close());
  await done;
  t.ok(frames > 20, 'the refused ones came again');
});

t.test('two closes are one, and a line that was never there closes too', async (t) => {
  const { driven, device } = gatewayEnd(t, '/dev/holdfast-no-such-port');
  driven.open();
  await Promise.all([driven.close(), driven.close()]);
  t.notOk(device.isOnline);
});

t.test(
  'an image is pulled in parts that fit the lines of the device, from any offset',
  async (t) => {
    const { pty, say, next, device, told } = await connected(t);
    await device.sendJob({ job_id: 'j1', version: '2.0', size: 10_000, sha256: 'a'.repeat(64) });
    t.match(await next('job'), { job_id: 'j1', version: '2.0', size: 10_000 });
    const fetch = async (offset: number, length: number) => {
      say({ t: 'fetch', job_id: 'j1', offset, length });
      const frame = await next('image');
      t.match(frame, { job_id: 'j1', offset });
      return Buffer.from(frame.t === 'image' ? frame.data : '', 'base64');
    };
    t.same(await fetch(7, 100), image.subarray(7, 107));
    t.same(await fetch(9_990, 100), image.subarray(9_990), 'the end of it');
    const most = await fetch(0, 10_000);
    t.same(most, image.subarray(0, most.length));
    t.ok(most.length > 2_900 && most.length < 3_072, 'as much as a line of 4,096 bytes takes');
    pty.write(encodeFrame({ ...hello, max_line: 200 }, false));
    await next('welcome');
    const short = await fetch(0, 10_000);
    t.same(short, image.subarray(0, short.length));
    t.ok(short.length > 80 && short.length < 120);
    say({ t: 'job_status', job_id: 'j1', status: 'downloading', progress: 40 });
    t.match(await next('ack'), { job_id: 'j1', status: 'downloading' });
    t.equal(told.events.at(-1), 'job_status {"job_id":"j1","status":"downloading","progress":40}');
  },
);

t.test('a nack ends a job, silence does not', async (t) => {
  let failure: unknown = new HoldfastError('STORE_UNAVAILABLE', 'not now');
  const { say, next, told } = await connected(t, {
    image: async () => {
      throw failure;
    },
  });
  const failed = told.next('failed');
  say({ t: 'fetch', job_id: 'j1', offset: 0, length: 10 });
  await failed;
  failure = new HoldfastError('RESOURCE_CONFLICT', 'it is being cancelled');
  say({ t: 'fetch', job_id: 'j1', offset: 0, length: 10 });
  t.match(await next('nack'), { job_id: 'j1', code: 'RESOURCE_CONFLICT' });
});

t.test('a hello that cannot be taken is not welcome, and says why if it is final', async (t) => {
  let failure: Error | undefined = new HoldfastError('GATEWAY_FENCED', 'g2 owns this site');
  const pair = new PortPair();
  const { next, say } = deviceEnd(pair.far);
  const { driven, device, told } = gatewayEnd(t, pair, {
    online: async () => {
      if (failure !== undefined) throw failure;
    },
  });
  driven.open();
  await next('who');
  say(hello);
  t.match(await next('nack'), { code: 'GATEWAY_FENCED', message: 'g2 owns this site' });
  t.notOk(device.isOnline);
  failure = new Error('the disk is full');
  const failed = told.next('failed');
  say(hello);
  await failed;
  t.notOk(device.isOnline);
  failure = undefined;
  say(hello);
  await next('welcome');
  device.refuse(new HoldfastError('GATEWAY_FENCED', 'g2 owns this site'));
  t.match(await next('nack'), { code: 'GATEWAY_FENCED' });
  t.notOk(device.isOnline);
});
