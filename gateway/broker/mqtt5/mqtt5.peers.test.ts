/** MQTT 5 with clients that nobody here wrote: Debian's mosquitto. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { openSite, type Site } from '../broker-fixture.js';
import { mosquittoArguments, mosquittoService } from '../foreign-clients.js';

const run = promisify(execFile);

/** mosquitto_sub, once its subscription is granted; its lines are what it was sent. */
const subscribe = async (t: Test, args: readonly string[]) => {
  // Line by line: into a pipe it would write when its buffer is full.
  const command = ['-oL', 'mosquitto_sub', '-V', '5', '-d', '-W', '20', ...args];
  const child = spawn('stdbuf', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill());
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (isMeant: (line: string) => boolean): Promise<string | undefined> => {
    for (;;) {
      const line = await lines.next();
      if (line.done === true) return undefined;
      if (isMeant(line.value)) return line.value;
    }
  };
  await next((line) => line.startsWith('Subscribed'));
  return { child, next: () => next((line) => line.startsWith('got ')) };
};

const publish = (site: Site, more: readonly string[]) =>
  run('mosquitto_pub', ['-V', '5', ...mosquittoService(site), ...more]);

const property = (name: string, ...value: string[]) => ['-D', 'publish', name, ...value];

t.test('properties come from mosquitto_pub to mosquitto_sub, queued ones too', async (t) => {
  const site = await openSite(t);
  const reader = [
    ...mosquittoService(site),
    ...['-i', 'reader', '-c', '-x', '60', '-q', '2', '-t', 'w/#'],
    ...['-F', 'got %t %p %q %C %R %D %P'],
  ];
  const first = await subscribe(t, reader);
  const properties = [
    ...property('content-type', 'text/plain'),
    ...property('response-topic', 'w/answers'),
    ...property('correlation-data', '334'),
    ...property('user-property', 'a', '1'),
    ...property('message-expiry-interval', '60'),
  ];
  const say = (qos: string) => publish(site, ['-t', 'w/x', '-m', qos, '-q', qos, ...properties]);
  for (const qos of ['0', '1', '2']) {
    await say(qos);
    t.equal(await first.next(), `got w/x ${qos} ${qos} text/plain w/answers 334 a:1`);
  }
  const gone = once(first.child, 'exit');
  first.child.kill('SIGTERM');
  await gone;
  await say('2');
  const second = await subscribe(t, reader);
  t.equal(await second.next(), 'got w/x 2 2 text/plain w/answers 334 a:1');
});

t.test('a device is given aliases and reasons, and none of what is another’s', async (t) => {
  const site = await openSite(t);
  const device = await mosquittoArguments(site, 'pump-1');
  const more = ['-V', '5', '-q', '1', '-m', 'x', '-d'];
  const own = await run('mosquitto_pub', [...device, ...more, '-t', 'dt/pump-1/telemetry/flow']);
  t.match(own.stdout, 'PUBACK (Mid: 1, RC:0)');
  const foreign = await run('mosquitto_pub', [
    ...device,
    ...more,
    ...['-t', 'dt/pump-2/telemetry/flow'],
  ]);
  t.match(`${foreign.stdout}${foreign.stderr}`, /RC:135|Not authorized/);
  t.match(site.handled, [{ topic: 'dt/pump-1/telemetry/flow' }]);
  const sharing = await run('mosquitto_sub', [
    ...[...device, '-V', '5', '-W', '10'],
    ...['-t', '$share/g/dt/pump-1/#'],
  ]).catch((error: unknown) => error as { stdout: string; stderr: string });
  t.match(`${sharing.stdout}${sharing.stderr}`, 'All subscription requests were denied');
});

t.test('shared subscriptions give each message to one', async (t) => {
  const site = await openSite(t);
  const args = [...mosquittoService(site), '-q', '1', '-t', '$share/g/w/#', '-F', 'got %p'];
  const readers = [
    await subscribe(t, [...args, '-i', 'a']),
    await subscribe(t, [...args, '-i', 'b']),
  ];
  for (const text of ['1', '2', '3', '4']) {
    await publish(site, ['-q', '1', '-t', 'w/x', '-m', text]);
  }
  const got = [];
  for (const { next } of readers) got.push(await next(), await next());
  t.same(got.sort(), ['got 1', 'got 2', 'got 3', 'got 4']);
});
