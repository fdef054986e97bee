/** Version 1 of AWS IoT's SDK, unmodified, against a gateway: `thingShadow`. */
import t from 'tap';
import { missingSdks } from './test-sdk-device.js';
import { oversize, tooDeep } from './test-sdk-shadows.js';
import { openSdkSite } from './test-sdk-site.js';

t.test('AWS IoT’s first SDK and the shadows of a gateway', { skip: missingSdks() }, async (t) => {
  const site = await openSdkSite(t);
  const kind = 'v1';
  t.test('thingShadow: get, update, delta, delete', async (t) => {
    const device = await site.open(t, 'v1-classic', { kind });
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
    const device = await site.open(t, 'v1-refused', { kind });
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
      const thing = 'v1-two';
      const one = await site.open(t, thing, { kind, clientId: `${thing}:one` });
      const other = await site.open(t, thing, { kind, clientId: `${thing}:other` });
      await one.watch();
      await other.watch('', { ignoreDeltas: true });
      t.match((await one.update({ state: { desired: { on: true } } })).accepted, { version: 1 });
      t.match(await one.next('delta'), { message: { state: { on: true } } });
      t.match(await other.next('foreign'), { operation: 'update', message: { version: 1 } });
      t.match((await other.update({ state: { reported: { on: true } } })).accepted, { version: 2 });
      t.match(await one.next('foreign'), { message: { state: { reported: { on: true } } } });
      await site.desire(thing, { on: false });
      t.match(await one.next('delta'), { message: { state: { on: false }, version: 3 } });
      t.match((await other.update({ state: { reported: { on: 1 } } })).rejected, {
        code: 409,
        message: 'Version conflict',
      });
    },
  );

  t.test('thingShadow: back after a broken network, it gets one delta', async (t) => {
    const thing = 'v1-away';
    const network = await site.network(t);
    const device = await site.open(t, thing, { kind, port: network.port, clean: false });
    await device.watch();
    await device.update({ state: { reported: { level: 0 } } });
    await site.cut(network, thing, device);
    for (const level of [1, 2, 3]) await site.desire(thing, { level });
    network.set('up');
    await device.next('resumed');
    t.match((await device.next('delta')).message, { state: { level: 3 }, version: 4 });
    t.match((await device.get()).accepted, { version: 4 });
    t.same(device.rest('delta'), []);
  });
});
