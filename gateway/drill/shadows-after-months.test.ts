/**
 * A shadow that is written at both ends for two months while neither hears of the other, nor the device of either: both programs restart,
 * time passes, and then each gets what came of it, once. The control plane is the program, over the real link.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeviceKeys } from '@holdfast/devices/agent/device-keys';
import { enrol } from '@holdfast/devices/agent/enrol';
import { GatewayTrust } from '@holdfast/devices/agent/gateway-trust';
import { silentLog } from '@holdfast/devices/agent/log';
import { DeviceSession } from '@holdfast/devices/agent/session';
import type { Shadow } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t, { type Test } from 'tap';
import { openDrill } from './drill.js';

const dayMs = 86_400_000;
const cloudBin = fileURLToPath(
  new URL('../../../cloud-sync/dist/testing/shifted-cloud.js', import.meta.url),
);
const name = 'sites/a/devices/d1/shadows/-';
const within = { deadlineMs: 60_000, everyMs: 20 };
t.setTimeout(300_000);

interface Said {
  readonly topic: string;
  readonly payload: { readonly state?: object; readonly version?: number };
}

const open = async (t: Test) => {
  const drill = await openDrill(t, {
    cloud: async (_, shiftMs) => ({ bin: cloudBin, env: { HOLDFAST_SHIFTED_MS: `${shiftMs}` } }),
    // The device is off for longer than a certificate that is renewed lives.
    site: { certificates: { renewingS: (365 * dayMs) / 1_000 } },
  });
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-months-'));
  t.teardown(() => rm(dataDir, { recursive: true }));
  const { site, time } = drill;
  const { code } = await site.ask<{ code: string }>('POST', 'claims', { device_id: 'd1' });
  await enrol({ log: silentLog }, { dataDir, proof: { code }, deviceId: 'd1', model: 'drill' });
  const keys = await DeviceKeys.open(dataDir, silentLog);
  /** Switched on; its session is one that the gateway keeps. */
  const switchOn = async () => {
    const trust = new GatewayTrust(await keys.credentials(), time.world);
    const said: Said[] = [];
    const session = new DeviceSession(
      {
        ...{ trust, log: silentLog },
        handlers: {
          ...{ connected: () => undefined, disconnected: () => undefined },
          message: async (topic, payload) => {
            said.push({ topic, payload: JSON.parse(Buffer.from(payload).toString()) });
          },
        },
      },
      {
        ...{ clientId: 'd1', gateways: keys.identity.gateways },
        filters: ['dt/d1/shadow/delta', 'dt/d1/shadow/get/accepted'],
        ...{ firstRetryMs: 20, mostRetryMs: 200 },
      },
    );
    session.open();
    await waitUntil('the device is connected', () => session.isConnected, within);
    return { said, session };
  };
  return { ...drill, switchOn };
};

t.test('both ends and the device get what came of months, once', async (t) => {
  const { time, wan, site, openApi, switchOn, stopCloud, startCloud } = await open(t);
  let api = openApi();
  const inCloud = (): Promise<Shadow> => api.call(api.shadows, api.shadows.getShadow, { name });
  const desire = (desired: object) =>
    api.call(api.shadows, api.shadows.updateShadow, {
      ...{ name, desired: { ...desired }, version: undefined },
    });
  const onSite = (desired: object) =>
    site.ask('PATCH', 'devices/d1/shadows/-', { state: { desired } });
  const first = await switchOn();
  await first.session.publish('dt/d1/shadow/update', { state: { reported: { mode: 0 } } });
  await waitUntil(
    'the control plane has the report',
    () => inCloud().then(Boolean, () => false),
    within,
  );

  t.comment('everybody is on their own');
  await first.session.close();
  wan.cut();
  for (let mode = 1; mode <= 30; mode += 1) await desire({ mode, [`of_cloud_${mode % 3}`]: mode });
  for (let limit = 1; limit <= 5; limit += 1) await onSite({ limit, mode: 100 + limit });
  api.close();
  await stopCloud();
  await site.switchOff();
  time.world.advance(60 * dayMs);
  await startCloud();
  api = openApi();
  t.teardown(() => api.close());
  await desire({ late: true });
  await site.switchOn({ isLost: false });
  await onSite({ later: true });

  t.comment('they meet');
  wan.restore();
  const wanted = {
    limit: 5,
    late: true,
    later: true,
    of_cloud_0: 30,
    of_cloud_1: 28,
    of_cloud_2: 29,
  };
  const isThere = (desired: object | undefined) =>
    Object.entries(wanted).every(([key, value]) => desired && Reflect.get(desired, key) === value);
  await waitUntil(
    'the control plane has it',
    async () => isThere((await inCloud()).desired),
    within,
  );
  const atSite = () => site.ask<{ desired?: object }>('GET', 'devices/d1/shadows/-');
  await waitUntil('the site has it', async () => isThere((await atSite()).desired), within);
  const { desired } = await inCloud();
  t.same((await atSite()).desired, desired);
  const [position] = await site.read<{ seq: number }>(
    'site.db',
    'SELECT seq FROM order_positions ORDER BY turn DESC LIMIT 1',
  );
  t.ok((position?.seq ?? 99) <= 3, `31 edits came in ${position?.seq} orders`);
  const { conflicts } = await api.call(api.shadows, api.shadows.listConflicts, {
    ...{ parent: 'sites/a', pageSize: 0, pageToken: '', includeSettled: false },
  });
  t.match(conflicts, [{ path: ['desired', 'mode'] }], 'what both wrote, once');

  t.comment('the device comes back');
  const { said, session } = await switchOn();
  t.teardown(() => session.close());
  await waitUntil('there is a delta', () => said.length > 0, within);
  await session.publish('dt/d1/shadow/get', {});
  // Whatever else there were to tell would have come before this.
  const isAnswered = () => said.some(({ topic }) => topic.endsWith('/get/accepted'));
  await waitUntil('its question is answered', isAnswered, within);
  const deltas = said.filter(({ topic }) => topic.endsWith('/delta'));
  t.equal(deltas.length, 1);
  t.same(deltas[0]?.payload.state, desired);
});
