/** AWS IoT's SDKs, unmodified, against a gateway: what a device that was made for AWS IoT does with its shadows. */
import { WanProxy } from '@holdfast/provisioning/quickstart/wan-proxy';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import t, { type Test } from 'tap';
import { openSiteUnderTest, type SiteUnderTest } from '../../trust/site-under-test.js';
import {
  missingSdks,
  type SdkDevice,
  type SdkDeviceOptions,
  startSdkDevice,
} from './test-sdk-device.js';

const skip = missingSdks();

const version2 = [
  { title: 'IotShadowClientv2', kind: 'v2-requests', protocol: 3 },
  { title: 'IotShadowClient', kind: 'v2-topics', protocol: 3 },
] as const;
const version1 = { title: 'thingShadow', kind: 'v1', protocol: 3 } as const;

const nested = (levels: number): object =>
  levels === 1 ? { leaf: 1 } : { below: nested(levels - 1) };

const tooDeep = { state: { reported: nested(9) } };
const oversize = (bytes: number) => ({ state: { reported: { text: 'x'.repeat(bytes) } } });

/** The devices of one site, each enrolled once. */
const fleetOf = (site: SiteUnderTest) => {
  const enrolled = new Map<string, ReturnType<SiteUnderTest['enrol']>>();
  return async (
    t: Test,
    thing: string,
    options: Pick<SdkDeviceOptions, 'kind'> & Partial<SdkDeviceOptions>,
  ): Promise<SdkDevice> => {
    const credentials = enrolled.get(thing) ?? site.enrol(thing);
    enrolled.set(thing, credentials);
    const { cert, key } = await credentials;
    const ca = site.fleet.root.certificate.pem;
    const device = startSdkDevice(t, {
      ...{ thing, cert, key, ca, port: site.port('mqtts') },
      ...options,
    });
    await device.connect();
    return device;
  };
};

const isOnline = async (site: SiteUnderTest, thing: string): Promise<boolean> =>
  (await site.ask('GET', `/api/v1/devices/${thing}`)).body.online === true;

/** Asks again and again: the gateway says when, and the deadline says that it did not. */
const until = async (work: () => Promise<boolean>): Promise<void> => {
  const asked = async (): Promise<void> => {
    while (!(await work())) await new Promise(setImmediate);
  };
  await withDeadline(asked(), 30_000, { doing: 'waiting for the gateway' });
};

/** What a person at the site wants of it. */
const desire = async (site: SiteUnderTest, thing: string, desired: object): Promise<void> => {
  const path = `/api/v1/devices/${thing}/shadows/-`;
  const { status, body } = await site.ask('PATCH', path, { state: { desired } });
  if (status !== 200) throw new Error(JSON.stringify(body));
};

t.test('AWS IoT’s SDKs and the shadows of a gateway', { skip }, async (t) => {
  t.setTimeout(280_000);
  const site = await openSiteUnderTest();
  t.teardown(() => site.close());
  const open = fleetOf(site);

  for (const { title, kind, protocol } of version2) {
    for (const shadow of [undefined, 'net:1_a-B']) {
      const which = `${title}, ${shadow === undefined ? 'classic' : 'named'}`;

      t.test(`${which}: get, update, delta, documents, delete`, async (t) => {
        const thing = `${kind}-${protocol}-${shadow === undefined ? 'classic' : 'named'}`;
        const device = await open(t, thing, { kind, protocol });
        await device.watch(shadow);
        const missing = {
          code: 404,
          message: `No shadow exists with name: '${shadow ?? thing}'`,
          timestamp: Number,
          clientToken: String,
        };
        t.match((await device.get(shadow)).rejected, missing);

        const state = { reported: { a: 1, keep: 'x' }, desired: { a: 2, list: [1, { b: 2 }] } };
        const at = { timestamp: Number };
        t.match((await device.update({ state }, shadow)).accepted, {
          state,
          metadata: { reported: { a: at, keep: at }, desired: { a: at, list: at } },
          version: 1,
          timestamp: Number,
          clientToken: String,
        });
        t.match((await device.next('delta')).message, {
          state: { a: 2, list: [1, { b: 2 }] },
          metadata: { a: at, list: at },
          version: 1,
          timestamp: Number,
        });
        t.match((await device.next('documents')).message, {
          previous: { state: {}, metadata: {}, version: 0 },
          current: { state, metadata: { reported: { a: at } }, version: 1 },
          timestamp: Number,
        });
        t.match((await device.get(shadow)).accepted, {
          state: { ...state, delta: { a: 2, list: [1, { b: 2 }] } },
          version: 1,
        });

        const patch = { reported: { a: 2, keep: null }, desired: { list: null } };
        t.match((await device.update({ state: patch, version: 1 }, shadow)).accepted, {
          version: 2,
        });
        const { accepted } = await device.get(shadow);
        t.same(accepted?.state, { desired: { a: 2 }, reported: { a: 2 } });
        t.match((await device.next('documents')).message, {
          previous: { state, version: 1 },
          current: { state: { desired: { a: 2 }, reported: { a: 2 } }, version: 2 },
        });
        t.same(device.rest('delta'), [], 'there is nothing left to do');

        t.match((await device.delete(shadow)).accepted, { version: 2, timestamp: Number });
        t.match((await device.get(shadow)).rejected, missing);
        t.match((await device.delete(shadow)).rejected, missing);
        t.match((await device.update({ state }, shadow)).accepted, { version: 3 });
        await device.disconnect();
      });

      t.test(`${which}: what is refused changes nothing`, async (t) => {
        const thing = `${kind}-${protocol}-${shadow === undefined ? 'refused' : 'refused-n'}`;
        const device = await open(t, thing, { kind, protocol });
        const state = { reported: { a: 1 } };
        await device.update({ state }, shadow);
        const conflict = { code: 409, message: 'Version conflict', clientToken: String };
        t.match((await device.update({ state, version: 7 }, shadow)).rejected, conflict);
        t.match((await device.update(tooDeep, shadow)).rejected, { code: 400 });
        t.match((await device.update(oversize(9_000), shadow)).rejected, { code: 413 });
        t.match((await device.update(oversize(100_000), shadow)).rejected, { code: 413 });
        const hole = { state: { reported: { list: [1, null] } } };
        t.match((await device.update(hole, shadow)).rejected, { code: 400 });
        if (kind === 'v2-topics') {
          const clientToken = 'x'.repeat(65);
          t.match((await device.update({ state, clientToken }, shadow)).rejected, {
            code: 400,
            message: 'Invalid clientToken',
          });
          t.match((await device.get(shadow, 'mine')).accepted, { clientToken: 'mine' });
        }
        t.match((await device.get(shadow)).accepted, { state, version: 1 });
      });
    }

    t.test(`${title}: two clients on one shadow`, async (t) => {
      const thing = `${kind}-${protocol}-two`;
      const one = await open(t, thing, { kind, protocol, clientId: `${thing}:one` });
      const other = await open(t, thing, { kind, protocol, clientId: `${thing}:other` });
      await one.watch();
      await other.watch();
      await one.get();
      await other.get();
      t.match((await one.update({ state: { desired: { mode: 'eco' } } })).accepted, { version: 1 });
      for (const device of [one, other]) {
        t.match((await device.next('delta')).message, { state: { mode: 'eco' }, version: 1 });
      }
      const reported = { state: { reported: { mode: 'eco' } }, version: 1 };
      t.match((await other.update(reported)).accepted, { version: 2 });
      t.match((await one.update(reported)).rejected, { code: 409 });
      for (const device of [one, other]) {
        t.match((await device.next('documents')).message, { current: { version: 1 } });
        t.match((await device.next('documents')).message, { current: { version: 2 } });
        t.match((await device.get()).accepted, {
          state: { desired: { mode: 'eco' }, reported: { mode: 'eco' } },
        });
      }
    });

    t.test(
      `${title}: back after a broken network, it gets one delta of how things stand`,
      async (t) => {
        const thing = `${kind}-${protocol}-away`;
        const network = await WanProxy.open({
          target: () => ({ host: '127.0.0.1', port: site.port('mqtts') }),
          port: 0,
        });
        t.teardown(() => network.close());
        const device = await open(t, thing, { kind, protocol, port: network.port, clean: false });
        await device.watch();
        await device.update({ state: { reported: { level: 0 } } });
        network.set('cut');
        await device.next('interrupted');
        await until(async () => !(await isOnline(site, thing)));
        for (const level of [1, 2, 3]) await desire(site, thing, { level });
        network.set('up');
        t.match(await device.next('resumed'), { isPresent: true });
        t.match((await device.next('delta')).message, { state: { level: 3 }, version: 4 });
        t.match((await device.get()).accepted, { version: 4 });
        t.same(device.rest('delta'), [], 'and not what was between');
      },
    );
  }

  t.test('thingShadow: get, update, delta, delete', async (t) => {
    const { kind } = version1;
    const device = await open(t, 'v1-classic', { kind });
    await device.watch();
    t.match((await device.get()).rejected, {
      code: 404,
      message: "No shadow exists with name: 'v1-classic'",
    });
    const state = { reported: { a: 1 }, desired: { a: 2, list: [1] } };
    t.match((await device.update({ state })).accepted, { state, version: 1 });
    t.match((await device.next('delta')).message, { state: { a: 2, list: [1] }, version: 1 });
    t.match((await device.get('', 'my-token')).accepted, {
      state: { ...state, delta: { a: 2, list: [1] } },
    });
    t.match((await device.delete()).accepted, { version: 1 });
    t.match((await device.get()).rejected, { code: 404 });
    t.match((await device.update({ state })).accepted, { version: 2 });
  });

  t.test('thingShadow: what is refused changes nothing', async (t) => {
    const { kind } = version1;
    const device = await open(t, 'v1-refused', { kind });
    await device.watch('', { operationTimeout: 1 });
    const state = { reported: { a: 1 } };
    await device.update({ state });
    t.match((await device.update(tooDeep)).rejected, { code: 400 });
    t.match((await device.update(oversize(9_000))).rejected, { code: 413 });
    t.match((await device.update({ state, clientToken: 'mine' })).accepted, { version: 2 });
    t.match((await device.update({})).rejected, { code: 400 });
  });

  t.test(
    'thingShadow: two clients on one shadow, each with the versions it knows of',
    async (t) => {
      const { kind } = version1;
      const thing = 'v1-two';
      const one = await open(t, thing, { kind, clientId: `${thing}:one` });
      const other = await open(t, thing, { kind, clientId: `${thing}:other` });
      await one.watch();
      await other.watch('', { ignoreDeltas: true });
      t.match((await one.update({ state: { desired: { on: true } } })).accepted, { version: 1 });
      t.match(await one.next('delta'), { message: { state: { on: true } } });
      t.match(await other.next('foreign'), { operation: 'update', message: { version: 1 } });
      t.match((await other.update({ state: { reported: { on: true } } })).accepted, { version: 2 });
      t.match(await one.next('foreign'), { message: { state: { reported: { on: true } } } });
      await desire(site, thing, { on: false });
      t.match(await one.next('delta'), { message: { state: { on: false }, version: 3 } });
      t.match((await other.update({ state: { reported: { on: 1 } } })).rejected, {
        code: 409,
        message: 'Version conflict',
      });
    },
  );

  t.test('thingShadow: back after a broken network, it gets one delta', async (t) => {
    const thing = 'v1-away';
    const network = await WanProxy.open({
      target: () => ({ host: '127.0.0.1', port: site.port('mqtts') }),
      port: 0,
    });
    t.teardown(() => network.close());
    const device = await open(t, thing, { kind: 'v1', port: network.port, clean: false });
    await device.watch();
    await device.update({ state: { reported: { level: 0 } } });
    network.set('cut');
    await device.next('interrupted');
    await until(async () => !(await isOnline(site, thing)));
    for (const level of [1, 2, 3]) await desire(site, thing, { level });
    network.set('up');
    await device.next('resumed');
    t.match((await device.next('delta')).message, { state: { level: 3 }, version: 4 });
    t.match((await device.get()).accepted, { version: 4 });
    t.same(device.rest('delta'), []);
  });
});
