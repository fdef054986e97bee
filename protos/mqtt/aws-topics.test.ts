import fc from 'fast-check';
import t from 'tap';
import { type AwsRequestTopic, buildAwsShadowTopic, parseAwsRequest } from './aws-topics.js';
import type { ShadowDownTopic } from './shadow-topics.js';

const device = 'pi-1';

const requests: readonly (readonly [string, AwsRequestTopic])[] = [
  ['shadow/get', { kind: 'shadow_request', operation: 'get', device }],
  ['shadow/update', { kind: 'shadow_request', operation: 'update', device }],
  ['shadow/delete', { kind: 'shadow_request', operation: 'delete', device }],
  ['shadow/name/a:b/get', { kind: 'shadow_request', operation: 'get', device, name: 'a:b' }],
  ['shadow/name/get/update', { kind: 'shadow_request', operation: 'update', device, name: 'get' }],
  ['jobs/get', { kind: 'jobs', operation: 'get', device }],
  ['jobs/start-next', { kind: 'jobs', operation: 'start-next', device }],
  ['jobs/$next/get', { kind: 'job', operation: 'get', device, job: '$next' }],
  ['jobs/$next/update', { kind: 'job', operation: 'update', device, job: '$next' }],
  ['jobs/j_1/get', { kind: 'job', operation: 'get', device, job: 'j_1' }],
  ['jobs/get/update', { kind: 'job', operation: 'update', device, job: 'get' }],
];

t.test('parses what a thing asks', async (t) => {
  for (const [rest, topic] of requests) {
    t.same(parseAwsRequest(`$aws/things/pi-1/${rest}`), topic, rest);
    if (topic.kind === 'shadow_request') {
      t.equal(buildAwsShadowTopic(topic), `$aws/things/pi-1/${rest}`);
    }
  }
});

t.test('builds what it is told of its shadows', async (t) => {
  const named = { device, name: 'net' };
  const told: readonly (readonly [ShadowDownTopic, string])[] = [
    [
      { kind: 'shadow_answer', operation: 'get', outcome: 'accepted', device },
      '$aws/things/pi-1/shadow/get/accepted',
    ],
    [
      { kind: 'shadow_answer', operation: 'delete', outcome: 'rejected', ...named },
      '$aws/things/pi-1/shadow/name/net/delete/rejected',
    ],
    [
      { kind: 'shadow_delta', form: 'update', ...named },
      '$aws/things/pi-1/shadow/name/net/update/delta',
    ],
    [{ kind: 'shadow_documents', device }, '$aws/things/pi-1/shadow/update/documents'],
  ];
  for (const [topic, text] of told) t.equal(buildAwsShadowTopic(topic), text);
});

t.test(
  'takes names of 64 characters of its alphabet, and nothing else for a request',
  async (t) => {
    const longest = 's'.repeat(64);
    t.match(parseAwsRequest(`$aws/things/${longest}/shadow/name/${longest}/get`), {
      device: longest,
      name: longest,
    });
    const strangers = [
      '$aws/things/pi-1',
      '$aws/things/pi-1/',
      '$aws/things/pi-1/shadow',
      '$aws/things/pi-1/shadow/get/accepted',
      '$aws/things/pi-1/shadow/update/delta',
      '$aws/things/pi-1/shadow/delta',
      '$aws/things/pi-1/shadow/name/n',
      '$aws/things/pi-1/shadow/name//get',
      '$aws/things/pi-1/shadow/name/n.x/get',
      `$aws/things/pi-1/shadow/name/${longest}s/get`,
      '$aws/things/pi-1/jobs',
      '$aws/things/pi-1/jobs/',
      '$aws/things/pi-1/jobs/notify',
      '$aws/things/pi-1/jobs/notify-next',
      '$aws/things/pi-1/jobs//get',
      '$aws/things/pi-1/jobs/$other/get',
      '$aws/things/pi-1/jobs/j/start-next',
      '$aws/things/pi-1/jobs/j/get/accepted',
      `$aws/things/${longest}s/shadow/get`,
      '$aws/things/pi:1/shadow/get',
      '$aws/things//shadow/get',
      '$aws/pi-1/shadow/get',
      'aws/things/pi-1/shadow/get',
      'dt/pi-1/shadow/get',
      `$aws/things/pi-1/${'a/'.repeat(5_000)}`,
    ];
    for (const text of strangers) t.equal(parseAwsRequest(text), undefined, text.slice(0, 70));
  },
);

t.test('takes any text', async () => {
  const level = fc.constantFrom('$aws', 'things', 'pi', 'shadow', 'name', 'jobs', '$next', 'get');
  const topic = fc
    .array(fc.oneof(level, fc.string({ maxLength: 3 })), { maxLength: 8 })
    .map((levels) => levels.join('/'));
  fc.assert(
    fc.property(topic, (text) => {
      const parsed = parseAwsRequest(text);
      return parsed?.kind !== 'shadow_request' || buildAwsShadowTopic(parsed) === text;
    }),
    { numRuns: 2_000 },
  );
});
