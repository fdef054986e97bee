/** Months apart: both ends are edited while the line between them is down, and both die; then they meet again. Both programs, over the link. */
import { once } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { MqttClient } from 'mqtt';
import t from 'tap';
import { openSiteWithCloud, siteId } from './site-with-cloud.js';

t.setTimeout(240_000);

/** Shadows that nobody touches during the outage. */
const untouched = 30;

interface Entry {
  readonly seq: number;
  readonly body: string;
}

t.test('edits of both ends, a device that was off, and restarts of both programs', async (t) => {
  const both = await openSiteWithCloud();
  t.teardown(() => both.close());
  const { site, wan } = both;

  const nameOf = (device: string, shadow = '-') =>
    `sites/${siteId}/devices/${device}/shadows/${shadow}`;
  const inCloud = async (device: string) => {
    const { api } = both;
    const got = await api.call(api.shadows, api.shadows.getShadow, { name: nameOf(device) });
    return { desired: got.desired ?? {}, reported: got.reported ?? {} };
  };
  const onSite = async (device: string) => {
    const { body } = await site.ask('GET', `/api/v1/devices/${device}/shadows/-`);
    const { desired = {}, reported = {} } = body as Record<string, object>;
    return { desired, reported };
  };
  const editInCloud = (device: string, desired: Record<string, unknown>) =>
    both.api.call(both.api.shadows, both.api.shadows.updateShadow, {
      ...{ name: nameOf(device), desired, version: undefined },
    });
  const editOnSite = async (device: string, desired: object, shadow = '-') => {
    const path = `/api/v1/devices/${device}/shadows/${shadow}`;
    const { status } = await site.ask('PATCH', path, { state: { desired } });
    t.equal(status, 200);
  };
  const open = async (client: MqttClient) => {
    await withDeadline(once(client as never, 'connect'), 20_000, { doing: 'connecting' });
    return client;
  };
  const report = async (client: MqttClient, device: string, reported: object) => {
    const payload = JSON.stringify({ state: { reported } });
    await client.publishAsync(`dt/${device}/shadow/update`, payload, { qos: 1 });
  };

  t.comment('two devices: one stays, the other will be off');
  const [pump, lamp] = [await site.enrol('pump'), await site.enrol('lamp')];
  let running = await open(site.connect(pump));
  await report(running, 'pump', { level: 1 });
  const before = await open(site.connect(lamp));
  await before.subscribeAsync('dt/lamp/shadow/delta', { qos: 1 });
  await report(before, 'lamp', { color: 'red', on: false });
  await before.endAsync();
  for (let at = 0; at < untouched; at += 1) await editOnSite('pump', { at }, `other-${at}`);
  await editInCloud('pump', { both: 'first' });
  await editInCloud('lamp', { both: 'first' });
  await waitUntil('the first edits arrive', async () => {
    const ends = await Promise.all([onSite('pump'), onSite('lamp')]);
    return ends.every(({ desired }) => 'both' in desired);
  });
  await both.inStep();

  t.comment('the line is cut');
  wan.set('cut');
  const entries = async () =>
    site.read<Entry>("SELECT seq, body FROM journal_state WHERE kind = 'shadow' ORDER BY seq");
  const ordered = async () =>
    (await site.read<{ seq: number }>('SELECT seq FROM order_positions'))[0]?.seq ?? 0;
  const last = (await entries()).at(-1)?.seq ?? 0;
  const orders = await ordered();
  for (const color of ['green', 'blue']) await editInCloud('lamp', { color, in_cloud: true });
  for (const turn of [1, 2, 3, 4]) await editOnSite('lamp', { turn });
  await editInCloud('pump', { both: 'cloud', in_cloud: 1 });
  await editOnSite('pump', { both: 'site', on_site: 2 });
  await report(running, 'pump', { level: 7 });
  await both.restartCloud('kill');
  await editInCloud('pump', { after_restart: 'cloud' });
  await site.restart('kill');
  running.end(true);
  running = await open(site.connect(pump));
  await report(running, 'pump', { level: 8 });
  await editOnSite('pump', { after_restart_too: 'site' });

  t.comment('the line is back');
  const bytes = wan.bytes;
  wan.set('up');
  for (const device of ['pump', 'lamp']) {
    let ends = [await inCloud(device), await onSite(device)];
    await waitUntil(`both ends agree on ${device}`, async () => {
      ends = [await inCloud(device), await onSite(device)];
      return isDeepStrictEqual(ends[0], ends[1]);
    }).catch(() => undefined);
    t.same(ends[0], ends[1], `both ends agree on ${device}`);
  }
  await both.inStep();
  t.match(await onSite('pump'), {
    desired: {
      both: 'site',
      in_cloud: 1,
      on_site: 2,
      after_restart: 'cloud',
      after_restart_too: 'site',
    },
    reported: { level: 8 },
  });

  t.comment('what crossed the line is what changed');
  const sent = (await entries()).filter(({ seq }) => seq > last);
  const devices = new Set(
    sent.map(({ body }) => {
      const { device, shadow } = JSON.parse(body) as { device: string; shadow: string };
      return `${device}/${shadow}`;
    }),
  );
  t.same([...devices].sort(), ['lamp/-', 'pump/-']);
  const orderedSince = (await ordered()) - orders;
  t.ok(sent.length <= 12, `${sent.length} entries for 8 writes on site and 4 of the cloud`);
  t.ok(orderedSince <= 8, `${orderedSince} orders for 4 writes in the cloud`);
  t.ok(wan.bytes - bytes < 60_000, `${wan.bytes - bytes} bytes, handshakes with them`);

  t.comment('the one leaf that both wrote is told at both ends');
  const { api } = both;
  const { conflicts } = await api.call(api.shadows, api.shadows.listConflicts, {
    ...{ parent: `sites/${siteId}`, pageSize: 10, pageToken: '', includeSettled: false },
  });
  t.match(conflicts, [
    {
      path: ['desired', 'both'],
      winner: { valueJson: '"site"' },
      loser: { valueJson: '"cloud"' },
    },
  ]);
  t.equal(conflicts.length, 1);
  const listed = await site.ask('GET', '/api/v1/conflicts');
  t.match(listed.body, {
    conflicts: [
      {
        path: ['desired', 'both'],
        winner: { value_json: '"site"' },
        loser: { value_json: '"cloud"' },
      },
    ],
  });

  t.comment('the device that was off gets one delta, with what is desired in the end');
  const deltas: unknown[] = [];
  const back = site.connect(lamp);
  const told = new Promise<void>((resolve) => {
    back.on('message', (topic, payload) => {
      if (topic.endsWith('/get/accepted')) resolve();
      else deltas.push((JSON.parse(payload.toString()) as { state: unknown }).state);
    });
  });
  await open(back);
  await waitUntil('the delta comes', () => deltas.length > 0, { everyMs: 20 });
  // Whatever else there were is before the answer to this.
  await back.subscribeAsync('dt/lamp/shadow/get/accepted', { qos: 1 });
  await back.publishAsync('dt/lamp/shadow/get', '', { qos: 1 });
  await withDeadline(told, 20_000, { doing: 'waiting for the shadow' });
  t.same(deltas, [{ both: 'first', color: 'blue', in_cloud: true, turn: 4 }]);
  back.end(true);
  running.end(true);
});
