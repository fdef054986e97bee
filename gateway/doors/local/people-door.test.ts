import { scryptSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalUser, Role } from '@holdfast/protos/local/people';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { ManualMachine } from '@holdfast/provisioning/time/manual-machine';
import { openClock } from '@holdfast/provisioning/time/trusted-clock';
import t, { type Test } from 'tap';
import { openDevices } from '../../devices/devices.js';
import { Commands } from '../../jobs/commands.js';
import { openShadows } from '../../shadows/shadows.js';
import { journalEntry } from '../../store/journal.js';
import { Outbox } from '../../store/outbox.js';
import { siteMigrations } from '../../store/site-migrations.js';
import { siteStore } from '../../store/site-store.js';
import { createOperatorToken, hashOperatorToken } from '../../trust/operator-token.js';
import { openPeople } from '../../trust/people/open-people.js';
import { followClock } from '../../trust/site-clock.js';
import { SerialLines } from '../serial/serial-lines.js';
import { clockRoutes } from './clock-routes.js';
import { openPeopleDoor } from './people-door.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const minute = 60_000;
const passwords = { anna: 'anna-secret-1', bert: 'bert-secret-1', carl: 'carl-secret-1' };
/** As cheap as a hash may be: a check of one at full cost is its own test's. */
const hashes = new Map(
  Object.entries(passwords).map(([user, password]) => {
    const salt = Buffer.alloc(16, user);
    const key = scryptSync(password, salt, 32, { N: 2 ** 14, r: 8, p: 1 });
    return [user, `scrypt$ln=14,r=8,p=1$${salt.toString('base64')}$${key.toString('base64')}`];
  }),
);

const userWith = (user: string, role: Role): LocalUser => ({
  user,
  role,
  password_hash: hashes.get(user) ?? '',
});

const openSite = async (t: Test, earlier?: { folder: string }) => {
  const folder = earlier?.folder ?? (await mkdtemp(join(tmpdir(), 'people-')));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const clock = new ManualClock();
  const outbox = new Outbox({ store, log });
  const lane = { appended: () => undefined };
  const site = siteStore({ store, outbox, lanes: { audit: lane, state: lane } });
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 5 });
  devices.learned('pump', { model: 'pi' });
  const shadows = await openShadows({ site, clock, log: store.log });
  const commands = new Commands({
    site,
    isFenced: () => false,
    outbox,
    devices,
    publish: async () => undefined,
    clock,
    log,
  });
  const machine = new ManualMachine(4_000);
  const siteClock = await openClock(
    { log, machine },
    { path: join(folder, 'clock.json'), ntp: 'never', floorMs: clock.now(), builtMs: 0 },
  );
  const peopleClock = followClock({
    clock: siteClock,
    site,
    plan: { onChange: () => () => undefined },
  });
  const planned: LocalUser[] = [];
  const closing: (() => Promise<void> | void)[] = [];
  const people = await openPeople(
    {
      site,
      clock,
      log,
      plan: {
        current: () =>
          ({
            documents: {
              users: new Map([
                ['users', { kind: 'users', id: 'users', revision: 1, body: { users: planned } }],
              ]),
            },
            // Of a plan, people look at the users alone.
          }) as never,
      },
      onClose: (_name, close) => closing.push(close),
    },
    {
      users: [
        { user: 'anna', role: 'technician', passwordHash: hashes.get('anna') ?? '' },
        { user: 'bert', role: 'viewer', passwordHash: hashes.get('bert') ?? '' },
      ],
      sessionIdleMs: 10 * minute,
      sessionLifetimeMs: 30 * minute,
    },
  );
  const fleet = await createTestFleet();
  const { tls } = await fleet.gatewayServer('g');
  const operatorToken = createOperatorToken();
  const door = await openPeopleDoor(
    {
      serialLines: new SerialLines({ now: Date.now, log }),
      status: () => ({ site: 'farm' }),
      devices,
      shadows,
      commands,
      telemetry: { latest: () => [] },
      claims: { make: async () => [], open: async () => [], remove: async () => undefined },
      codeOf: () => 'c',
      routes: clockRoutes({ clock: peopleClock }),
      fence: { check: () => undefined },
      people,
      operatorTokenSha256: () => hashOperatorToken(operatorToken),
      onRefused: people.access.refused,
      noteChange: (change) =>
        site.commit([journalEntry('audit', 'change_requested', change, clock.now())]),
      now: clock.now,
      monotonic: clock.monotonic,
      log,
    },
    { host: '127.0.0.1', port: 0, tls },
  );
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    await door.close();
    await siteClock.close();
    for (const one of closing) await one();
    await devices.close();
    await outbox.close();
    await store.close();
  };
  t.teardown(async () => {
    await close();
    await rm(folder, { recursive: true, force: true });
  });
  const ask = async (
    method: string,
    path: string,
    { token, body, from = '127.0.0.1' }: { token?: string; body?: object; from?: string } = {},
  ) => {
    const request = httpsRequest({
      host: '127.0.0.1',
      localAddress: from,
      port: door.port,
      method,
      path: `/api/v1${path}`,
      rejectUnauthorized: false,
      agent: false,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const json = JSON.parse(Buffer.concat(chunks).toString());
    return { status: response.statusCode, headers: response.headers, json };
  };
  const signIn = (user: string, password: string, more: { from?: string; earlier?: string } = {}) =>
    ask('POST', '/sessions', {
      body: {
        user,
        password,
        ...(more.earlier === undefined ? {} : { earlier_token: more.earlier }),
      },
      ...(more.from === undefined ? {} : { from: more.from }),
    });
  const tokenOf = async (user: keyof typeof passwords): Promise<string> =>
    (await signIn(user, passwords[user])).json.token;
  const entries = async (kind: string) =>
    (
      await store.read.all<{ body: string }>(
        'SELECT body FROM journal_audit WHERE kind = ? ORDER BY seq',
        [kind],
      )
    ).map(({ body }) => JSON.parse(body));
  return {
    folder,
    clock,
    ask,
    signIn,
    tokenOf,
    entries,
    planned,
    people,
    operatorToken,
    store,
    site,
    close,
  };
};

t.test('a person signs in with user and password, and every change names him', async (t) => {
  const { ask, signIn, entries, store } = await openSite(t);
  const signedIn = await signIn('anna', passwords.anna);
  t.match(signedIn, { status: 200, json: { user: 'anna', role: 'technician', token: /^hfs_/ } });
  const { token } = signedIn.json;
  t.match(await ask('GET', '/me', { token }), { json: { user: 'anna', role: 'technician' } });
  const desired = { state: { desired: { on: true } } };
  const changed = await ask('PATCH', '/devices/pump/shadows/-', { token, body: desired });
  t.equal(changed.status, 200);
  t.same(await entries('person_signed_in'), [
    { user: 'anna', role: 'technician', address: '127.0.0.1' },
  ]);
  t.same(await entries('change_requested'), [
    { actor: 'anna', method: 'PATCH', path: '/api/v1/devices/pump/shadows/-' },
  ]);
  const [shadow] = await store.read.all<{ body: string }>(
    `SELECT body FROM journal_state WHERE kind = 'shadow'`,
  );
  t.match(shadow?.body, /"site:anna"/, 'the writer of the leaf is the person');
  t.equal((await ask('DELETE', '/sessions/current', { token })).status, 200);
  t.equal((await ask('GET', '/me', { token })).status, 401, 'signed out');
});

t.test('each role does what it may, and a refusal says so and is told', async (t) => {
  const { ask, tokenOf, entries, operatorToken, people } = await openSite(t);
  const viewer = await tokenOf('bert');
  const technician = await tokenOf('anna');
  const body = { state: { desired: { on: true } } };
  const path = '/devices/pump/shadows/-';
  t.equal((await ask('GET', '/devices', { token: viewer })).status, 200);
  t.match(await ask('PATCH', path, { token: viewer, body }), {
    status: 403,
    json: { code: 'NOT_AUTHORISED' },
  });
  t.equal((await ask('PATCH', path, { token: technician, body })).status, 200);
  t.equal((await ask('GET', '/users', { token: technician })).status, 403);
  t.equal((await ask('GET', '/users', { token: operatorToken })).status, 200);
  t.equal((await ask('PATCH', path, { body })).status, 401);
  await people.access.close();
  t.match(await entries('access_refused'), [
    { identity: 'user bert', verb: 'call', what: 'shadow.write', reason: 'ROLE_TOO_LOW', count: 1 },
    { identity: 'user anna', what: 'user.read', reason: 'ROLE_TOO_LOW' },
    { identity: 'nobody', what: 'shadow.write', reason: 'SIGN_IN_NEEDED' },
  ]);
});

t.test(
  'there is no user and no password to begin with, and no difference between them',
  async (t) => {
    const { signIn } = await openSite(t);
    const wrong = await signIn('anna', 'not-her-password');
    t.match(wrong, { status: 401, json: { code: 'NOT_AUTHENTICATED' } });
    for (const user of ['nobody', 'operator', '__proto__', 'a\0b']) {
      const answer = await signIn(user, passwords.anna);
      t.equal(answer.status, 401, JSON.stringify(user));
      t.same(answer.json, wrong.json, 'told as a wrong password is');
    }
  },
);

t.test('the first user comes by the operator token, and lives through a restart', async (t) => {
  const first = await openSite(t);
  const { operatorToken: token } = first;
  const body = { user: 'carl', role: 'installer', password_hash: hashes.get('carl') };
  t.match(await first.ask('POST', '/users', { token, body }), {
    status: 200,
    json: { user: { user: 'carl', role: 'installer', source: 'gateway' } },
  });
  t.match(await first.ask('POST', '/users', { token, body }), {
    status: 409,
    json: { code: 'RESOURCE_EXISTS' },
  });
  t.match(await first.ask('POST', '/users', { token, body: { ...body, user: 'anna' } }), {
    status: 409,
    json: { message: /configuration/ },
  });
  for (const bad of [
    { ...body, user: 'operator' },
    { ...body, user: 'X' },
    { ...body, user: 'dora', role: 'root' },
    { ...body, user: 'dora', password_hash: 'plain' },
    { user: 'dora', role: 'viewer', password: 'plain-password' },
  ]) {
    t.equal((await first.ask('POST', '/users', { token, body: bad })).status, 400);
  }
  t.same(await first.entries('user_changed'), [
    { actor: 'operator', user: 'carl', role: 'installer' },
  ]);
  await first.close();
  const second = await openSite(t, first);
  const carl = await second.tokenOf('carl');
  t.match(await second.ask('GET', '/users', { token: carl }), {
    json: {
      users: [
        { user: 'anna', role: 'technician', source: 'configuration' },
        { user: 'bert', role: 'viewer', source: 'configuration' },
        { user: 'carl', role: 'installer', source: 'gateway' },
      ],
    },
  });
  t.notMatch(JSON.stringify((await second.ask('GET', '/users', { token: carl })).json), /scrypt/);
});

t.test('a session ends when it is idle, old, or its user gone or changed', async (t) => {
  const { ask, clock, tokenOf, operatorToken } = await openSite(t);
  const status = async (token: string) => (await ask('GET', '/me', { token })).status;

  const idle = await tokenOf('anna');
  clock.advance(10 * minute - 1);
  t.equal(await status(idle), 200);
  clock.advance(10 * minute);
  t.equal(await status(idle), 401, 'idle');

  const old = await tokenOf('anna');
  for (let at = 0; at < 5; at += 1) {
    clock.advance(5 * minute);
    t.equal(await status(old), 200);
  }
  clock.advance(5 * minute);
  t.equal(await status(old), 401, 'used, and over none the less');

  const wild = await tokenOf('anna');
  clock.set(clock.now() + 365 * 86_400_000);
  t.equal(await status(wild), 200, 'a wall clock that jumps ends nothing');
  clock.set(0);
  t.equal(await status(wild), 200, 'nor makes it last');

  const add = (user: string) =>
    ask('POST', '/users', {
      token: operatorToken,
      body: { user, role: 'viewer', password_hash: hashes.get('carl') },
    });
  await add('carl');
  const carl = await tokenOf('carl');
  t.equal(await status(carl), 200);
  const role = { role: 'installer' };
  await ask('PATCH', '/users/carl', { token: operatorToken, body: role });
  t.match((await ask('GET', '/me', { token: carl })).json, role, 'a role holds at once');
  const other = { password_hash: hashes.get('bert') };
  await ask('PATCH', '/users/carl', { token: operatorToken, body: other });
  t.equal(await status(carl), 401, 'another password');
  await ask('DELETE', '/users/carl', { token: operatorToken });
  await add('carl');
  const again = await tokenOf('carl');
  await ask('DELETE', '/users/carl', { token: operatorToken });
  t.equal(await status(again), 401, 'removed');
});

t.test('a user of the plan counts before one of the same name at the gateway', async (t) => {
  const { ask, planned, signIn, tokenOf } = await openSite(t);
  const before = await tokenOf('anna');
  planned.push({ ...userWith('carl', 'viewer'), user: 'anna' }, userWith('carl', 'installer'));
  t.equal((await ask('GET', '/me', { token: before })).status, 401, 'her password is another one');
  t.equal((await signIn('anna', passwords.anna)).status, 401);
  t.match(await signIn('anna', passwords.carl), { json: { role: 'viewer' } });
  const carl = await tokenOf('carl');
  t.match(await ask('DELETE', '/users/anna', { token: carl }), {
    status: 409,
    json: { code: 'RESOURCE_CONFLICT', message: /plan/ },
  });
});

t.test('who guesses waits longer and longer; the technician elsewhere does not', async (t) => {
  const { clock, signIn, entries, people } = await openSite(t);
  const guess = () => signIn('anna', 'guess-guess');
  const together = await Promise.all(Array.from({ length: 8 }, guess));
  t.same(
    together.map(({ status }) => status).sort(),
    [401, 401, 401, 401, 401, 429, 429, 429],
    'guessing all at once gains nothing',
  );
  t.match(await signIn('anna', passwords.anna), {
    status: 429,
    headers: { 'retry-after': '1' },
  });
  t.equal((await signIn('anna', passwords.anna, { from: '127.0.0.2' })).status, 200);
  for (const waitMs of [1_000, 2_000, 4_000]) {
    clock.advance(waitMs - 1);
    t.equal((await guess()).status, 429);
    clock.advance(1);
    t.equal((await guess()).status, 401);
  }
  clock.advance(300_000);
  t.equal((await signIn('anna', passwords.anna)).status, 200, 'five minutes are the longest');
  await people.access.close();
  t.match(await entries('person_locked_out'), [
    { user: 'anna', address: '127.0.0.1', wait_ms: 1_000 },
  ]);
});

t.test('whoever was signed in before is not kept out by others at the same address', async (t) => {
  const { signIn, tokenOf } = await openSite(t);
  const earlier = await tokenOf('anna');
  for (let at = 0; at < 6; at += 1) await signIn('anna', 'guess-guess');
  t.equal((await signIn('anna', passwords.anna)).status, 429);
  t.equal((await signIn('anna', passwords.anna, { earlier: 'hfs_guess' })).status, 429);
  t.equal((await signIn('bert', passwords.bert, { earlier })).status, 200);
  t.equal((await signIn('anna', passwords.anna, { earlier })).status, 200);
});

t.test(
  'a technician says what time it is where nothing else does, and the journal who it was',
  async (t) => {
    const { ask, tokenOf, entries, clock, site } = await openSite(t);
    const [viewer, technician] = [await tokenOf('bert'), await tokenOf('anna')];
    t.match(await ask('GET', '/clock', { token: viewer }), {
      status: 200,
      json: { trusted: false, source: null, doubt: 'below_floor', now: clock.now() },
    });
    const time = clock.now() + 86_400_000;
    const path = '/clock';
    t.equal((await ask('POST', path, { token: viewer, body: { time } })).status, 403);
    const low = await ask('POST', path, { token: technician, body: { time: 5_000_000 } });
    t.match(low, { status: 409, json: { code: 'CLOCK_BELOW_FLOOR' } });
    t.equal((await ask('POST', path, { token: technician, body: { time: 'noon' } })).status, 400);
    t.same(await entries('clock_set'), []);
    t.match(await ask('POST', path, { token: technician, body: { time } }), {
      status: 200,
      json: { trusted: true, source: 'operator', now: time },
    });
    t.same(await entries('clock_set'), [{ actor: 'anna', time, step: 86_400_000 }]);
    // It is told after the change, by itself: the entries of one store come in the order of their commits.
    await site.commit([]);
    t.match(await entries('clock'), [{ source: 'operator', offset: time - 10_000 }]);
  },
);
