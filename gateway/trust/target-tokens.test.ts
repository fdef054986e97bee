import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { openDevices } from '../devices/devices.js';
import { Lifecycles } from '../devices/lifecycles.js';
import { Outbox } from '../store/outbox.js';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { Revocations } from './revocations.js';
import { TargetTokens } from './target-tokens.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'tokens-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const clock = new ManualClock(1_000_000);
  const lane = { appended: () => undefined };
  const outbox = new Outbox({ store, log });
  const site = siteStore({ store, outbox, lanes: { audit: lane, state: lane } });
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 5 });
  const revocations = await Revocations.open({ site, clock, log });
  const lifecycles = new Lifecycles({
    ...{ site, devices, revocations, clock, log },
    inactiveAfterMs: () => 1e9,
  });
  t.teardown(async () => {
    await lifecycles.close();
    await devices.close();
    await store.close();
    await rm(folder, { recursive: true });
  });
  const refused = { token: false, enrolment: false };
  const open = () =>
    TargetTokens.open({
      ...{ site, clock, devices },
      requireWritable: (what) => {
        if (refused[what]) throw new HoldfastError('GATEWAY_FENCED', 'not here');
      },
    });
  const told = async (kind: string): Promise<unknown[]> => {
    const rows = await store.read.all<{ body: string }>(
      'SELECT body FROM journal_audit WHERE kind = ? ORDER BY seq',
      [kind],
    );
    return rows.map(({ body }) => JSON.parse(body));
  };
  return { store, devices, lifecycles, open, told, refused };
};

t.test('a token is shown once, kept as a hash and good after a restart', async (t) => {
  const { store, open, told } = await openSite(t);
  const tokens = await open();
  const { token } = await tokens.make({ device: 'pump-1', model: 'pump', actor: 'site:anna' });
  t.match(token, /^hft_[0-9a-z]{26}$/, '128 bits');
  t.equal(tokens.find(token), 'pump-1');
  t.equal((await open()).find(token), 'pump-1');
  const rows = await store.read.all('SELECT * FROM target_tokens');
  const everything = JSON.stringify([rows, await told('target_token')]);
  t.notMatch(everything, token.slice(4));
  t.same(await told('target_token'), [{ device: 'pump-1', action: 'made', actor: 'site:anna' }]);
  for (const wrong of ['', 'hft_', `${token}0`, token.toUpperCase(), token.slice(0, -1)]) {
    t.equal(tokens.find(wrong), undefined);
  }
});

t.test('it enrols a device that is not known, as the model it is said to be', async (t) => {
  const { devices, open, told } = await openSite(t);
  const tokens = await open();
  const wanted = { device: 'pump-1', actor: 'site:anna' };
  await t.rejects(tokens.make({ ...wanted, model: null }), { code: 'REQUEST_INVALID' });
  t.match(await tokens.make({ ...wanted, model: 'pump' }), { enrolled: true, replaced: false });
  t.match(devices.get('pump-1'), { model: 'pump', door: 'ddi' });
  t.match(await told('device_enrolled'), [
    { device: 'pump-1', model: 'pump', door: 'ddi', certificate_serial: null, claim_hash: null },
  ]);
  t.match(await tokens.make({ ...wanted, model: null }), { enrolled: false, replaced: true });
  t.equal((await told('device_enrolled')).length, 1);
});

t.test('a new one takes the place of the one before, and a revoked one is gone', async (t) => {
  const { open, told } = await openSite(t);
  const tokens = await open();
  const wanted = { device: 'pump-1', model: 'pump', actor: 'site:anna' };
  const first = await tokens.make(wanted);
  const second = await tokens.make(wanted);
  t.equal(tokens.find(first.token), undefined);
  t.equal(tokens.find(second.token), 'pump-1');
  await tokens.revoke('pump-1', 'site:tom');
  t.equal(tokens.find(second.token), undefined);
  t.equal((await open()).find(second.token), undefined);
  t.same((await told('target_token')).at(-1), {
    ...{ device: 'pump-1', action: 'revoked', actor: 'site:tom' },
  });
  await t.rejects(tokens.revoke('pump-1', 'site:tom'), { code: 'RESOURCE_NOT_FOUND' });
});

t.test('it goes with its device, in the same commit', async (t) => {
  const { store, lifecycles, open } = await openSite(t);
  const tokens = await open();
  await tokens.make({ device: 'pump-1', model: 'pump', actor: 'site:anna' });
  await lifecycles.decide('pump-1', { action: 'retire', reason: '', actor: 'site:anna' });
  t.same(await store.read.all('SELECT * FROM target_tokens'), []);
  tokens.forget('pump-1');
  const again = await tokens.make({ device: 'pump-1', model: 'pump', actor: 'site:anna' });
  t.match(again, { enrolled: true }, 'as a new code would bring its id back');
});

t.test('nothing is made where the gateway may not write, or may enrol nobody', async (t) => {
  const { open, refused } = await openSite(t);
  const tokens = await open();
  const wanted = { device: 'pump-1', model: 'pump', actor: 'site:anna' };
  refused.enrolment = true;
  await t.rejects(tokens.make(wanted), { code: 'GATEWAY_FENCED' });
  refused.enrolment = false;
  await tokens.make(wanted);
  refused.enrolment = true;
  await tokens.make(wanted);
  refused.token = true;
  await t.rejects(tokens.make(wanted), { code: 'GATEWAY_FENCED' });
});
