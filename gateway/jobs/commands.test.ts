import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import type { OutboundMessage } from '../broker/broker.js';
import { openDevices } from '../devices/devices.js';
import { Outbox } from '../store/outbox.js';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { Commands } from './commands.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const lane = { appended: () => undefined };

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'commands-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const clock = new ManualClock();
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const fence = { isFenced: false };
  const start = async () => {
    const outbox = new Outbox({ store, log });
    const site = siteStore({ store, outbox, lanes: { audit: lane, state: lane } });
    const devices = await openDevices({ site, clock, log }, { writeAfterMs: 60_000 });
    const sent: OutboundMessage[] = [];
    const online: string[] = [];
    const commands = new Commands(
      {
        site,
        outbox,
        devices,
        clock,
        log,
        publish: async (message) => void sent.push(message),
        isFenced: () => fence.isFenced,
        sendOnLine: async (_device, command) => void online.push(command),
      },
      { resendAfterMs: 5, maxOpen: 3 },
    );
    await commands.open();
    outbox.start();
    let closing: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      await commands.close();
      await outbox.close();
      await devices.close();
    };
    const close = () => {
      closing ??= stop();
      return closing;
    };
    t.teardown(close);
    return { site, outbox, devices, commands, sent, online, close };
  };
  const journal = async () =>
    (
      await store.read.all<{ body: string }>(
        "SELECT body FROM journal_state WHERE kind = 'command' ORDER BY seq",
      )
    ).map(({ body }) => (JSON.parse(body) as { state: string }).state);
  return { clock, fence, start, journal };
};

const command = (clock: ManualClock, id = 'c1') => ({
  device: 'pump',
  command: id,
  type: 'blink',
  payload: { n: 3 },
  expiresAt: clock.now() + 60_000,
});

t.test('a command is committed, sent, answered once and told', async (t) => {
  const { clock, start, journal } = await openSite(t);
  const { devices, commands, outbox, sent } = await start();
  devices.connected('pump', 's');
  await commands.create(command(clock));
  await commands.create(command(clock));
  await outbox.idle();
  t.equal(sent.length, 1, 'the same again is nothing new');
  t.match(sent[0], { topic: 'dt/pump/commands/c1', qos: 1 });
  t.same(JSON.parse(Buffer.from(sent[0]?.payload ?? '').toString()), {
    type: 'blink',
    payload: { n: 3 },
    expires_at: clock.now() + 60_000,
  });
  await commands.answered('pump', 'c1', { status: 'in_progress' });
  const answer = { status: 'succeeded', result: { ok: true } } as const;
  await Promise.all([
    commands.answered('pump', 'c1', answer),
    commands.answered('pump', 'c1', answer),
  ]);
  await commands.answered('pump', 'c1', { status: 'failed' });
  t.match(await commands.get('pump', 'c1'), { state: 'succeeded', response: { ok: true } });
  t.same(await journal(), ['delivered', 'succeeded']);
});

t.test('who was away gets it on connecting; who has answered does not', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands, outbox, sent } = await start();
  devices.learned('pump', { model: 'p' });
  await commands.create(command(clock));
  await commands.create(command(clock, 'c2'));
  await outbox.idle();
  sent.length = 0;
  await commands.answered('pump', 'c2', { status: 'accepted' });
  devices.connected('pump', 's');
  while (sent.length === 0) await delay(2);
  await delay(20);
  t.same(
    sent.map(({ topic }) => topic),
    ['dt/pump/commands/c1'],
  );
});

t.test('a serial device gets it over its line, when that is up', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands, outbox, sent, online } = await start();
  devices.learned('pump', { door: 'serial' });
  await commands.create(command(clock));
  await outbox.idle();
  t.same(online, []);
  devices.connected('pump', 'boot');
  while (online.length === 0) await delay(2);
  t.same([online, sent], [['c1'], []]);
});

t.test(
  'what nobody answers in time expires, also across a restart; by an untrusted clock nothing does',
  async (t) => {
    const { clock, start, journal } = await openSite(t);
    const first = await start();
    first.devices.learned('pump', { model: 'p' });
    await first.commands.create(command(clock));
    clock.advance(61_000);
    clock.trusted = false;
    await first.commands.expire();
    t.match(await first.commands.get('pump', 'c1'), { state: 'delivered' });
    await first.close();
    clock.trusted = true;
    const { commands } = await start();
    while ((await commands.get('pump', 'c1'))?.state !== 'expired') await delay(5);
    t.same(await journal(), ['delivered', 'expired']);
  },
);

t.test('an order is committed together with its position, and repeated without harm', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands, site } = await start();
  devices.learned('pump', { model: 'p' });
  const body = {
    device: 'pump',
    command: 'c9',
    type: 'x',
    payload: {},
    expires_at: clock.now() + 1_000,
  };
  let writes = 0;
  const failing = () => Promise.reject(new HoldfastError('STORE_FULL', 'full'));
  await t.rejects(commands.order(body, failing), { code: 'STORE_FULL' });
  t.equal(await commands.get('pump', 'c9'), undefined);
  for (let i = 0; i < 2; i += 1) {
    await commands.order(body, async (write) => {
      writes += 1;
      await site.commit(write);
    });
  }
  t.equal(writes, 2, 'the position moves each time');
  t.equal((await commands.list('pump')).length, 1);
});

t.test('what cannot be a command is refused', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands } = await start();
  devices.learned('pump', { model: 'p' });
  const good = command(clock);
  await t.rejects(commands.create({ ...good, device: 'nobody' }), { code: 'RESOURCE_NOT_FOUND' });
  await t.rejects(commands.create({ ...good, command: 'a/b' }), { code: 'REQUEST_INVALID' });
  await t.rejects(commands.create({ ...good, payload: 'x'.repeat(61_000) }), {
    code: 'REQUEST_TOO_LARGE',
  });
  await commands.create(good);
  await t.rejects(commands.create({ ...good, type: 'other' }), { code: 'RESOURCE_EXISTS' });
  for (const id of ['c2', 'c3']) await commands.create(command(clock, id));
  await t.rejects(commands.create(command(clock, 'c4')), { code: 'STORE_OVERLOADED' });
});

t.test('an order that cannot be carried out is told as failed, and holds up none', async (t) => {
  const { clock, start, journal } = await openSite(t);
  const { site, devices, commands } = await start();
  await devices.vouch({ device: 'pump', model: 'm', serialNo: 's', door: 'serial' });
  const order = (change: object) =>
    commands.order({ ...command(clock), expires_at: clock.now() + 1_000, ...change }, (write) =>
      site.commit(write),
    );
  await order({ command: 'a', device: 'nobody' });
  await order({ command: 'b', type: 'x'.repeat(65) });
  t.same(await journal(), ['failed', 'failed']);
  for (const id of ['c', 'd', 'e']) await order({ command: id });
  await order({ command: 'f' });
  t.same((await journal()).slice(2), ['delivered', 'delivered', 'delivered', 'failed']);
  await order({ command: 'c' });
  t.equal((await journal()).length, 6, 'one that is known is no failure, however many are open');
});

t.test('a gateway that owns the site no more sends nothing', async (t) => {
  const { clock, fence, start } = await openSite(t);
  const { devices, commands, outbox, sent } = await start();
  devices.learned('pump', { model: 'p' });
  fence.isFenced = true;
  await commands.create(command(clock));
  await outbox.idle();
  t.same(sent, []);
});

t.test('what is over by a clock that is not trusted is not looked at all the time', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands } = await start();
  devices.learned('pump', { model: 'p' });
  await commands.create(command(clock));
  clock.trusted = false;
  clock.advance(3_600_000);
  const timers = t.capture(globalThis, 'setTimeout', globalThis.setTimeout);
  await commands.expire();
  const delays = timers().map(({ args: [, delayMs] }) => delayMs);
  timers.restore();
  t.same(delays, [1_000]);
});

t.test('forgets what was over before, and nothing that is open or younger', async (t) => {
  const { clock, start } = await openSite(t);
  const { devices, commands, outbox } = await start();
  devices.learned('pump', { model: 'p' });
  for (const id of ['c1', 'c2']) await commands.create(command(clock, id));
  const long = { ...command(clock, 'c3'), expiresAt: clock.now() + 10_000_000 };
  await commands.create(long);
  await outbox.idle();
  await commands.answered('pump', 'c1', { status: 'succeeded' });
  clock.advance(3_600_000);
  await commands.expire();
  await commands.forget(clock.now() - 600_000);
  t.same(
    (await commands.list('pump')).map(({ command: id, state }) => `${id} ${state}`).sort(),
    ['c2 expired', 'c3 delivered'],
    'what ran out just now is kept',
  );
  clock.advance(3_600_000);
  await commands.forget(clock.now());
  t.same(
    (await commands.list('pump')).map(({ command: id }) => id),
    ['c3'],
  );
});
