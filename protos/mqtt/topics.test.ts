import fc from 'fast-check';
import t from 'tap';
import { deviceOfClientId, isDeviceId } from './device-id.js';
import { buildTopic, isUpTopic, parseTopic, type Topic } from './topics.js';

const everyTopic: readonly (readonly [string, Topic])[] = [
  ['dt/pi-1/telemetry/cpu.temp', { kind: 'telemetry', device: 'pi-1', sensor: 'cpu.temp' }],
  ['dt/pi-1/shadow/update', { kind: 'shadow_request', operation: 'update', device: 'pi-1' }],
  ['dt/pi-1/shadow/get', { kind: 'shadow_request', operation: 'get', device: 'pi-1' }],
  [
    'dt/pi-1/shadow/name/a:b/delete',
    { kind: 'shadow_request', operation: 'delete', device: 'pi-1', name: 'a:b' },
  ],
  [
    'dt/pi-1/shadow/update/accepted',
    { kind: 'shadow_answer', operation: 'update', outcome: 'accepted', device: 'pi-1' },
  ],
  [
    'dt/pi-1/shadow/name/n/get/rejected',
    { kind: 'shadow_answer', operation: 'get', outcome: 'rejected', device: 'pi-1', name: 'n' },
  ],
  ['dt/pi-1/shadow/update/documents', { kind: 'shadow_documents', device: 'pi-1' }],
  ['dt/pi-1/shadow/update/delta', { kind: 'shadow_delta', form: 'update', device: 'pi-1' }],
  ['dt/pi-1/shadow/delta', { kind: 'shadow_delta', form: 'short', device: 'pi-1' }],
  [
    'dt/pi-1/shadow/name/n/delta',
    { kind: 'shadow_delta', form: 'short', device: 'pi-1', name: 'n' },
  ],
  ['dt/pi-1/commands/c1', { kind: 'command', device: 'pi-1', command: 'c1' }],
  ['dt/pi-1/commands/c1/response', { kind: 'command_response', device: 'pi-1', command: 'c1' }],
  ['dt/pi-1/jobs/notify', { kind: 'jobs_notify', device: 'pi-1' }],
  ['dt/pi-1/jobs/j1/get', { kind: 'job_request', operation: 'get', device: 'pi-1', job: 'j1' }],
  [
    'dt/pi-1/jobs/j1/update/accepted',
    { kind: 'job_answer', operation: 'update', outcome: 'accepted', device: 'pi-1', job: 'j1' },
  ],
  ['dt/pi-1/time/get', { kind: 'time_get', device: 'pi-1' }],
  ['dt/pi-1/time/now', { kind: 'time_now', device: 'pi-1' }],
  ['devices/pi-1/heartbeat', { kind: 'heartbeat', device: 'pi-1' }],
  ['devices/pi-1/status', { kind: 'status', device: 'pi-1' }],
  ['devices/pi-1/notify', { kind: 'notify', device: 'pi-1' }],
  ['devices/pi-1/command', { kind: 'older_command', device: 'pi-1' }],
];

t.test('parses and builds every topic of both sets', async (t) => {
  for (const [text, topic] of everyTopic) {
    t.same(parseTopic(text), topic, text);
    t.equal(buildTopic(topic), text);
  }
});

t.test('knows what a device publishes and what the gateway does', async (t) => {
  const up = everyTopic.filter(([, topic]) => isUpTopic(topic)).map(([text]) => text);
  t.same(up, [
    'dt/pi-1/telemetry/cpu.temp',
    'dt/pi-1/shadow/update',
    'dt/pi-1/shadow/get',
    'dt/pi-1/shadow/name/a:b/delete',
    'dt/pi-1/commands/c1/response',
    'dt/pi-1/jobs/j1/get',
    'dt/pi-1/time/get',
    'devices/pi-1/heartbeat',
    'devices/pi-1/status',
    'devices/pi-1/notify',
  ]);
});

t.test('is no topic of ours: anything outside the contract', async (t) => {
  const strangers = [
    '',
    'dt',
    'dt/',
    'dt//telemetry/x',
    'dt/pi-1',
    'dt/pi-1/',
    'dt/pi-1/telemetry',
    'dt/pi-1/telemetry/',
    'dt/pi-1/telemetry/a/b',
    'dt/pi-1/telemetry/+',
    'dt/pi-1/telemetry/a\u0000',
    'dt/pi 1/telemetry/a',
    `dt/${'d'.repeat(65)}/telemetry/a`,
    'dt/pi-1/shadow/name/get',
    'dt/pi-1/shadow/name//get',
    'dt/pi-1/shadow/name/-/get',
    'dt/pi-1/shadow/name/n/get/else',
    'dt/pi-1/shadow/update/',
    'dt/pi-1/jobs/notify/get/accepted/x',
    'dt/pi-1/jobs//get',
    'dt/pi-1/commands/',
    'dt/pi-1/commands//response',
    'dt/pi-1/commands/c/else',
    'dt/pi-1/x/time/get',
    'devices/pi-1/heartbeat/',
    'devices/pi-1/shadow/update',
    '$aws/things/pi-1/shadow/update',
    '$SYS/broker',
    `dt/pi-1/telemetry/${'a/'.repeat(5_000)}`,
  ];
  for (const text of strangers) t.equal(parseTopic(text), undefined, text.slice(0, 60));
});

t.test('takes any text, and what it parses builds to the same text', async () => {
  const level = fc.constantFrom('dt', 'devices', 'pi', 'shadow', 'name', 'update', 'get', 'delta');
  const topic = fc
    .array(fc.oneof(level, fc.string({ maxLength: 3 })), { maxLength: 8 })
    .map((levels) => levels.join('/'));
  fc.assert(
    fc.property(topic, (text) => {
      const parsed = parseTopic(text);
      return parsed === undefined || buildTopic(parsed) === text;
    }),
    { numRuns: 2_000 },
  );
});

t.test('a device may be called like a prototype', async (t) => {
  for (const device of ['constructor', '__proto__', 'hasOwnProperty']) {
    t.ok(isDeviceId(device));
    t.same(parseTopic(`devices/${device}/heartbeat`), { kind: 'heartbeat', device });
  }
});

t.test('finds the device in a client id', async (t) => {
  t.equal(deviceOfClientId('pi-1'), 'pi-1');
  t.equal(deviceOfClientId('pi-1:worker.2'), 'pi-1');
  for (const clientId of ['', ':', 'pi-1:', ':x', 'pi/1', 'pi-1:a/b', '+', 'pi-1:x y']) {
    t.equal(deviceOfClientId(clientId), undefined, clientId);
  }
});
