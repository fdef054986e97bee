/** A gateway as a program, and devices that speak AWS IoT's topics to it with a client of MQTT. */
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { IClientOptions, MqttClient } from 'mqtt';
import t, { type Test } from 'tap';
import { openSiteUnderTest, type SiteUnderTest } from '../../trust/site-under-test.js';

const shadow = '$aws/things/pump-1/shadow';
const jobs = '$aws/things/pump-1/jobs';

/** A connected client, and what it hears, in order. */
const open = async (
  t: Test,
  site: SiteUnderTest,
  credentials: Awaited<ReturnType<SiteUnderTest['enrol']>>,
  options: IClientOptions = {},
) => {
  const client: MqttClient = site.connect(credentials, options);
  t.teardown(() => client.endAsync(true));
  const heard: [string, Record<string, unknown>][] = [];
  let wake = (): void => undefined;
  client.on('message', (topic, payload) => {
    heard.push([topic, JSON.parse(payload.toString())]);
    wake();
  });
  client.on('error', () => undefined);
  await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  const take = async (): Promise<[string, Record<string, unknown>]> => {
    for (;;) {
      const first = heard.shift();
      if (first !== undefined) return first;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    client,
    say: (topic: string, payload: object | string) =>
      client.publishAsync(topic, typeof payload === 'string' ? payload : JSON.stringify(payload), {
        qos: 1,
      }),
    next: () => withDeadline(take(), 20_000, { doing: 'waiting for a message' }),
    heard,
  };
};

t.test('a gateway serves the topics of AWS IoT', async (t) => {
  const site = await openSiteUnderTest();
  t.teardown(() => site.close());
  const credentials = await site.enrol('pump-1');
  const asDevice = (t: Test, options?: IClientOptions) => open(t, site, credentials, options);

  t.test('one shadow, whichever topics it is spoken to on', async (t) => {
    const aws = await asDevice(t, { clientId: 'pump-1:aws' });
    const native = await asDevice(t, { clientId: 'pump-1:native' });
    await aws.client.subscribeAsync(`${shadow}/#`, { qos: 1 });
    await native.client.subscribeAsync('dt/pump-1/shadow/update/+', { qos: 1 });
    await native.say('dt/pump-1/shadow/update', { state: { desired: { a: 1 } }, clientToken: 'n' });
    t.match(await native.next(), ['dt/pump-1/shadow/update/accepted', { clientToken: 'n' }]);
    t.match(await native.next(), ['dt/pump-1/shadow/update/delta', { state: { a: 1 } }]);
    t.match(await native.next(), ['dt/pump-1/shadow/update/documents', {}]);
    t.match(await aws.next(), [`${shadow}/update/delta`, { state: { a: 1 }, version: 1 }]);
    t.match(await aws.next(), [`${shadow}/update/documents`, { current: { version: 1 } }]);
    await aws.say(`${shadow}/update`, { state: { reported: { a: 1 } }, version: 1 });
    const told = [await aws.next(), await aws.next(), await aws.next()];
    t.same(
      told.map(([topic]) => topic.slice(shadow.length)).sort(),
      ['/update', '/update/accepted', '/update/documents'],
      'its own request too, as everybody below #',
    );
    t.match(await native.next(), ['dt/pump-1/shadow/update/documents', {}], 'and no answer');
  });

  t.test('a will that reports is a report', async (t) => {
    const watcher = await asDevice(t, { clientId: 'pump-1:watcher' });
    await watcher.client.subscribeAsync(`${shadow}/name/life/update/documents`, { qos: 1 });
    const payload = Buffer.from(JSON.stringify({ state: { reported: { alive: false } } }));
    const topic = `${shadow}/name/life/update`;
    const dying = await asDevice(t, {
      clientId: 'pump-1:dying',
      will: { topic, payload, qos: 1, retain: false },
    });
    dying.client.stream.destroy();
    t.match((await watcher.next())[1], { current: { state: { reported: { alive: false } } } });
  });

  t.test('jobs are answered to the client that asks, subscribed or not', async (t) => {
    const asker = await asDevice(t, { clientId: 'pump-1:asker', clean: true });
    const other = await asDevice(t, { clientId: 'pump-1:other', clean: true });
    await other.client.subscribeAsync(`${jobs}/+/get/+`, { qos: 1 });
    await asker.say(`${jobs}/$next/get`, { clientToken: 'c' });
    t.match(await asker.next(), [`${jobs}/$next/get/accepted`, { clientToken: 'c' }]);
    await other.say(`${jobs}/j1/get`, { clientToken: 'o' });
    t.match(await other.next(), [`${jobs}/j1/get/rejected`, { code: 'ResourceNotFound' }]);
    t.same([...asker.heard, ...other.heard], []);
  });

  t.test('a burst is answered, request by request', async (t) => {
    const device = await asDevice(t, { clientId: 'pump-1:burst' });
    await device.client.subscribeAsync(`${shadow}/name/burst/update/+`, { qos: 1 });
    const tokens = Array.from({ length: 40 }, (_, at) => `${at}`);
    const said = tokens.map((clientToken, at) =>
      device.say(`${shadow}/name/burst/update`, { state: { reported: { at } }, clientToken }),
    );
    const answers = new Map<unknown, number>();
    while (answers.size < tokens.length) {
      const [topic, { clientToken, code }] = await device.next();
      if (!topic.endsWith('/documents')) answers.set(clientToken, Number(code ?? 200));
    }
    await Promise.all(said);
    const codes = new Set(answers.values());
    t.ok(codes.has(200));
    t.same(
      [...codes].filter((code) => code !== 200 && code !== 429),
      [],
    );
  });

  t.test(
    'publishing where it may not ends the connection; a subscription is refused alone',
    async (t) => {
      for (const topic of [
        `${shadow}/get/accepted`,
        '$aws/things/pump-2/shadow/get',
        '$aws/rules/r/x',
      ]) {
        const device = await asDevice(t, { clientId: 'pump-1:stray' });
        const closed = new Promise<void>((resolve) => device.client.once('close', () => resolve()));
        device.say(topic, '').catch(() => undefined);
        await withDeadline(closed, 20_000, { doing: `being cut for ${topic}` });
      }
      const device = await asDevice(t, { clientId: 'pump-1:stray' });
      const granted = await device.client
        .subscribeAsync({
          [`${shadow}/get/+`]: { qos: 1 },
          '$aws/things/+/shadow/get/+': { qos: 1 },
          '$aws/things/pump-2/#': { qos: 1 },
        })
        .catch((error: unknown) => error);
      t.match(`${granted}`, /Unspecified error|128/, 'told so');
      await device.say(`${shadow}/get`, { clientToken: 'still here' });
      t.match((await device.next())[1], { clientToken: 'still here' });
    },
  );
});
