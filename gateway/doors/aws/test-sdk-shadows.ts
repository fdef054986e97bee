/** What a device with version 2 of AWS IoT's SDK does with its shadows, by either of its clients. */
import type { Test } from 'tap';
import type { SdkKind } from './test-sdk-device.js';
import type { SdkSite } from './test-sdk-site.js';

const nested = (levels: number): object =>
  levels === 1 ? { leaf: 1 } : { below: nested(levels - 1) };

export const tooDeep = { state: { reported: nested(9) } };
export const oversize = (bytes: number) => ({ state: { reported: { text: 'x'.repeat(bytes) } } });

export const tryShadows = (
  t: Test,
  site: SdkSite,
  { title, kind, protocol }: { title: string; kind: SdkKind; protocol: 3 | 5 },
): void => {
  for (const shadow of [undefined, 'net:1_a-B']) {
    const which = `${title}, ${shadow === undefined ? 'classic' : 'named'}`;

    t.test(`${which}: get, update, delta, documents, delete`, async (t) => {
      const thing = `${kind}-${protocol}-${shadow === undefined ? 'classic' : 'named'}`;
      const device = await site.open(t, thing, { kind, protocol });
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
      const device = await site.open(t, thing, { kind, protocol });
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
    const one = await site.open(t, thing, { kind, protocol, clientId: `${thing}:one` });
    const other = await site.open(t, thing, { kind, protocol, clientId: `${thing}:other` });
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
      const network = await site.network(t);
      const device = await site.open(t, thing, {
        kind,
        protocol,
        port: network.port,
        clean: false,
      });
      await device.watch();
      await device.update({ state: { reported: { level: 0 } } });
      await site.cut(network, thing, device);
      for (const level of [1, 2, 3]) await site.desire(thing, { level });
      network.set('up');
      t.match(await device.next('resumed'), { isPresent: true });
      t.match((await device.next('delta')).message, { state: { level: 3 }, version: 4 });
      t.match((await device.get()).accepted, { version: 4 });
      t.same(device.rest('delta'), [], 'and not what was between');
    },
  );
};
