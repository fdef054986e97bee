import { type Command, CommandState } from '@holdfast/protos/gen/holdfast/v1/commands';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';

const device = {
  kind: 'device',
  body: {
    device: 'd1',
    online: true,
    last_seen: 1,
    firmware_version: null,
    model: 'm',
    door: 'native',
  },
};
const said = (command: string, state: string, response: unknown = null, error?: string) => ({
  kind: 'command',
  body: { device: 'd1', command, state, response, error: error ?? null },
});

const open = async (t: Parameters<typeof cloudUnderTest>[0], now?: () => number) => {
  const cloud = await cloudUnderTest(t, now === undefined ? {} : { now });
  const gateway = await enrolStandIn(cloud, 'a');
  const state = new StandInLog('state');
  let link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [state.position] });
  await link.next('welcome');
  const report = async (...entries: Parameters<StandInLog['batch']>[0][number][]) => {
    link.say({ $case: 'journal', value: await state.batch(entries) });
    await link.next('journalCommitted');
  };
  await report(device);
  /** The gateway comes back. */
  const again = async () => {
    const next = dial(gateway);
    t.teardown(() => next.close());
    next.hello({ journal: [state.position] });
    await next.next('welcome');
    link = next;
    return next;
  };
  return { cloud, link, report, again };
};

const create = (
  cloud: CloudUnderTest,
  commandId: string,
  set: Partial<Command> = {},
  parent = 'sites/a/devices/d1',
) =>
  cloud.call(cloud.commands, cloud.commands.createCommand, {
    parent,
    commandId,
    command: {
      name: '',
      type: 'reboot',
      payload: { in: 5 },
      state: CommandState.COMMAND_STATE_UNSPECIFIED,
      response: undefined,
      error: '',
      createTime: undefined,
      expireTime: undefined,
      responseTime: undefined,
      ...set,
    },
  });
const get = (cloud: CloudUnderTest, id: string) =>
  cloud.call(cloud.commands, cloud.commands.getCommand, {
    name: `sites/a/devices/d1/commands/${id}`,
  });
const ordersIn = (jws: string): { kind: string; body: { command: string } }[] =>
  JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()).orders;

t.test('goes to its site once, and its answer comes back', async (t) => {
  const { cloud, link, report } = await open(t);
  const created = await create(cloud, 'x');
  t.match(created, {
    name: 'sites/a/devices/d1/commands/x',
    state: CommandState.COMMAND_STATE_PENDING,
    payload: { in: 5 },
  });
  t.same(await create(cloud, 'x'), created, 'a repeat is harmless');
  await t.rejects(create(cloud, 'x', { type: 'other' }), { code: 'RESOURCE_EXISTS' });
  const drawn = await create(cloud, '');
  t.match(drawn.name, /\/commands\/[0-9a-f-]{36}$/);
  const orders = [];
  while (orders.length < 2) orders.push(...ordersIn((await link.next('orders')).jws));
  t.same(
    orders.map(({ kind, body }) => [kind, body.command]),
    [
      ['command', 'x'],
      ['command', drawn.name.split('/').at(-1)],
    ],
  );
  await report(said('x', 'delivered'));
  t.match(await get(cloud, 'x'), { state: CommandState.COMMAND_STATE_DELIVERED });
  await report(
    said('x', 'succeeded', { uptime: 3 }),
    said('x', 'delivered'),
    said('none', 'failed'),
  );
  const answered = await get(cloud, 'x');
  t.match(answered, { state: CommandState.COMMAND_STATE_SUCCEEDED, response: { uptime: 3 } });
  t.ok(answered.responseTime);
  await report(said(drawn.name.split('/').at(-1) ?? '', 'failed', 'text', 'no such thing'));
  t.match(await get(cloud, drawn.name.split('/').at(-1) ?? ''), {
    state: CommandState.COMMAND_STATE_FAILED,
    response: { value: 'text' },
    error: 'no such thing',
  });
});

t.test(
  'runs out when nobody answered in time; an answer that was in time still counts',
  async (t) => {
    let now = Date.now();
    const { cloud, link, report } = await open(t, () => now);
    await create(cloud, 'x', { expireTime: new Date(now + 1_000) });
    await link.next('orders');
    for (const expireTime of [new Date(now), new Date(now + 91 * 86_400_000)]) {
      await t.rejects(create(cloud, 'y', { expireTime }), { code: 'REQUEST_INVALID' });
    }
    now += 1_000;
    t.equal((await get(cloud, 'x')).state, CommandState.COMMAND_STATE_EXPIRED);
    t.match(
      await create(cloud, 'x', { expireTime: new Date(now) }),
      { state: CommandState.COMMAND_STATE_EXPIRED },
      'a repeat is still no error',
    );
    await report(said('x', 'succeeded'));
    t.equal((await get(cloud, 'x')).state, CommandState.COMMAND_STATE_SUCCEEDED);
  },
);

t.test('one that ran out before its site could be reached is ended, and not sent', async (t) => {
  let now = Date.now();
  const { cloud, link, report, again } = await open(t, () => now);
  await link.close();
  for (const id of ['x', 'y']) await create(cloud, id, { expireTime: new Date(now + 1_000) });
  await create(cloud, 'z');
  now += 1_000;
  const back = await again();
  const { jws } = await back.next('orders');
  t.same(
    ordersIn(jws).map(({ body }) => body.command),
    ['z'],
  );
  // Ended for good: an answer to what was sent would still count.
  await report(said('x', 'succeeded'), said('z', 'succeeded'));
  t.equal((await get(cloud, 'x')).state, CommandState.COMMAND_STATE_EXPIRED);
  t.equal((await get(cloud, 'z')).state, CommandState.COMMAND_STATE_SUCCEEDED);
});

t.test('lists the newest first, by pages; refuses what is malformed', async (t) => {
  let now = Date.now();
  const { cloud } = await open(t, () => now);
  for (const id of ['b', 'c', 'a']) {
    await create(cloud, id);
    now += 1;
  }
  const parent = 'sites/a/devices/d1';
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await cloud.call(cloud.commands, cloud.commands.listCommands, {
      parent,
      pageSize: 2,
      pageToken,
    });
    seen.push(...page.commands.map(({ name }) => name.slice(-1)));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  t.same(seen, ['a', 'c', 'b']);
  for (const [id, set, to, code] of [
    ['x', {}, 'sites/a/devices/none', 'RESOURCE_NOT_FOUND'],
    ['x/y', {}, parent, 'REQUEST_INVALID'],
    ['x', { type: '' }, parent, 'REQUEST_INVALID'],
    ['x', { payload: { a: Number.NaN } }, parent, 'REQUEST_INVALID'],
    ['x', { payload: { a: 'x'.repeat(70_000) } }, parent, 'REQUEST_TOO_LARGE'],
  ] as const) {
    await t.rejects(create(cloud, id, set, to), { code }, JSON.stringify(set).slice(0, 50));
  }
});

t.test('goes with its device', async (t) => {
  const { cloud, report } = await open(t);
  await create(cloud, 'x');
  await cloud.call(cloud.devices, cloud.devices.deleteDevice, {
    name: 'sites/a/devices/d1',
    etag: '',
  });
  await report(device);
  await t.rejects(get(cloud, 'x'), { code: 'RESOURCE_NOT_FOUND' });
});
