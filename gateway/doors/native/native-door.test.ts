import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import type { InboundMessage, OutboundMessage } from '../../broker/broker.js';
import type { DeviceEvent, DispatchDeviceEvent, JobAnswer } from '../../devices/device-events.js';
import { openNativeDoor } from './native-door.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openDoor = (answer: (event: DeviceEvent) => JobAnswer | undefined = () => undefined) => {
  const events: DeviceEvent[] = [];
  const sent: { topic: string; payload: unknown }[] = [];
  const shadowTopics: string[] = [];
  const connected: string[] = [];
  const beats: string[][] = [];
  let isFenced = false;
  const clock = new ManualClock();
  const door = openNativeDoor({
    // What a test answers is what the type of the event asks for.
    dispatch: ((event: DeviceEvent) => {
      events.push(event);
      // Telemetry throws at once, as the real one does for what is no point; all else rejects.
      if (event.type === 'telemetry') return Promise.resolve(answer(event));
      return Promise.resolve().then(() => answer(event));
    }) as DispatchDeviceEvent,
    shadows: {
      handle: async ({ topic }) => void shadowTopics.push(topic.operation),
    },
    arrived: async (device) => void connected.push(device),
    beat: async (device, session) => void beats.push([device, session]),
    publish: async ({ topic, payload }: OutboundMessage) =>
      void sent.push({ topic, payload: JSON.parse(Buffer.from(payload).toString()) }),
    fence: {
      check: () => {
        if (isFenced) throw new HoldfastError('GATEWAY_FENCED', 'replaced');
      },
    },
    lifecycles: { check: () => undefined },
    clock,
    log,
  });
  const say = async (topic: string, payload: unknown, device = 'pump') => {
    const message: InboundMessage = {
      identity: { kind: 'device', site: 's', device, serial: '1', issuerSerial: '2' },
      clientId: device,
      topic,
      payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
      qos: 1,
      retain: false,
      sessionId: 'session-1',
    };
    return door.handle(message);
  };
  return {
    door,
    events,
    sent,
    shadowTopics,
    connected,
    clock,
    say,
    fence: () => {
      isFenced = true;
    },
  };
};

t.test('translates every topic of a device into its event', async (t) => {
  const { say, events, shadowTopics } = openDoor(() => ({ accepted: true, execution: null }));
  await say('dt/pump/telemetry/temp', { value: 20, ts: 5, boot: 'b', seq: 1 });
  await say('dt/pump/commands/c1/response', { status: 'succeeded', result: 3 });
  await say('dt/pump/jobs/next/get', '');
  await say('dt/pump/jobs/c/get', {});
  await say('dt/pump/jobs/c/update', { status: 'downloading', boot_id: 'b', version: '1' });
  await say('devices/pump/heartbeat', {
    serial_no: '7',
    model: 'm',
    current_firmware: '1',
    timestamp: 1,
  });
  await say('devices/pump/status', {
    campaign_id: 'c',
    status: 'Downloading',
    progress: 5,
    timestamp: 1,
  });
  await say('devices/pump/notify', {
    setting_changed: 'rate',
    old_value: 1,
    new_value: 2,
    timestamp: 1,
  });
  await say('dt/pump/shadow/update', { state: { reported: { a: 1 } } });
  await say('dt/pump/shadow/name/n/get', '');
  t.same(shadowTopics, ['update', 'get']);
  t.strictSame(events, [
    {
      type: 'telemetry',
      device: 'pump',
      series: 'temp',
      points: [{ value: 20, ts: 5, boot: 'b', seq: 1 }],
    },
    {
      type: 'command_answered',
      device: 'pump',
      command: 'c1',
      response: { status: 'succeeded', result: 3 },
    },
    { type: 'job_asked', device: 'pump', job: null },
    { type: 'job_asked', device: 'pump', job: 'c' },
    {
      type: 'job_updated',
      device: 'pump',
      job: 'c',
      update: { status: 'downloading', boot_id: 'b', version: '1' },
    },
    {
      type: 'heartbeat',
      device: 'pump',
      session: 'session-1',
      serialNo: '7',
      model: 'm',
      firmwareVersion: '1',
    },
    {
      type: 'status',
      device: 'pump',
      session: 'session-1',
      campaign: 'c',
      status: 'Downloading',
      progress: 5,
    },
    { type: 'setting_changed', device: 'pump', setting: 'rate', oldValue: 1, newValue: 2 },
  ]);
});

t.test('answers job requests on their topics, with their token', async (t) => {
  const execution = { job_id: 'c', version: 2, status: 'offered', document: {} };
  const { say, sent } = openDoor((event) =>
    event.type === 'job_asked'
      ? { accepted: true, execution }
      : { accepted: false, code: 409, message: 'it is over' },
  );
  await say('dt/pump/jobs/next/get', { client_token: 'x' });
  await say('dt/pump/jobs/c/update', { status: 'failed', client_token: 'y' });
  await say('dt/pump/jobs/c/update', { status: 'nonsense', client_token: 'z' });
  await say('dt/pump/jobs/c/update', '{');
  t.match(sent, [
    { topic: 'dt/pump/jobs/next/get/accepted', payload: { execution, client_token: 'x' } },
    {
      topic: 'dt/pump/jobs/c/update/rejected',
      payload: { code: 409, message: 'it is over', client_token: 'y' },
    },
    { topic: 'dt/pump/jobs/c/update/rejected', payload: { code: 400, client_token: 'z' } },
    { topic: 'dt/pump/jobs/c/update/rejected', payload: { code: 400 } },
  ]);
});

t.test('tells the time, and whether it is to be trusted', async (t) => {
  const { say, sent, clock } = openDoor();
  clock.trusted = false;
  await say('dt/pump/time/get', '');
  t.same(sent, [{ topic: 'dt/pump/time/now', payload: { ts: clock.now(), trusted: false } }]);
});

t.test('takes what it cannot understand as said, and counts it', async (t) => {
  const { say, events, door } = openDoor();
  await say('dt/pump/telemetry/temp', 'garbage');
  await say('dt/pump/telemetry/temp', '['.repeat(20_000));
  await say('devices/pump/heartbeat', { model: 1 });
  await say('dt/pump/commands/c1/response', { status: '?' });
  t.equal(door.refusedMessages, 4);
  await say('dt/pump/of-its-own/topic', 'x');
  await say('dt/pump/jobs/notify', '{}');
  await say('dt/other/telemetry/temp', '1');
  t.same(events, [], 'nothing that is not its own to say reaches a service');
});

t.test('what fails for now is not acknowledged, what fails for good is', async (t) => {
  let code: 'STORE_FULL' | 'STORE_CORRUPT' | 'REQUEST_INVALID' | 'INTERNAL' = 'STORE_FULL';
  const { say, door, fence } = openDoor(() => {
    throw new HoldfastError(code, 'no');
  });
  const publish = () => say('dt/pump/telemetry/temp', '1');
  await t.rejects(publish(), { code: 'STORE_FULL' });
  code = 'STORE_CORRUPT';
  await t.rejects(publish(), { code: 'STORE_CORRUPT' });
  code = 'INTERNAL';
  await t.rejects(publish(), { code: 'INTERNAL' });
  code = 'REQUEST_INVALID';
  await publish();
  t.equal(door.refusedMessages, 1);
  fence();
  await t.rejects(publish(), { code: 'GATEWAY_FENCED' });
});

t.test('a session is told, and then what is desired of the device', async (t) => {
  const { door, events, connected } = openDoor();
  const session = { device: 'pump', clientId: 'pump', sessionId: 's', at: 1 };
  door.onSession({ ...session, connected: true });
  door.onSession({ ...session, connected: false });
  await new Promise(setImmediate);
  t.same(events, [
    { type: 'session', device: 'pump', session: 's', connected: true },
    { type: 'session', device: 'pump', session: 's', connected: false },
  ]);
  t.same(connected, ['pump']);
});

t.test('a session that the disk did not take is told again until it is over', async (t) => {
  let isFull = true;
  // The door's own timers keep no process.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(alive));
  let told: () => void = () => undefined;
  const again = new Promise<void>((resolve) => {
    told = resolve;
  });
  const { door, events, connected } = openDoor(({ type }) => {
    if (type !== 'session') return undefined;
    if (isFull) throw new HoldfastError('STORE_FULL', 'the disk is full');
    told();
    return undefined;
  });
  const session = { device: 'pump', clientId: 'pump', sessionId: 's', at: 1 };
  door.onSession({ ...session, connected: true });
  await new Promise(setImmediate);
  t.same(connected, []);
  isFull = false;
  await again;
  await new Promise(setImmediate);
  t.equal(events.length, 2);
  t.same(connected, ['pump'], 'and what is desired comes with it');

  isFull = true;
  door.onSession({ ...session, connected: true });
  door.onSession({ ...session, connected: false });
  await new Promise(setImmediate);
  const seen = events.length;
  isFull = false;
  door.onSession({ ...session, sessionId: 's2', connected: false });
  await new Promise(setImmediate);
  t.same(events.at(-1), { type: 'session', device: 'pump', session: 's2', connected: false });
  t.equal(events.length, seen + 1);
});
