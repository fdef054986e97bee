import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { ManualSchedule } from '@holdfast/provisioning/time/manual-schedule';
import t, { type Test } from 'tap';
import { longestTtlMs, openFirmwareUrls } from './signed-url.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const sha256 = 'ab'.repeat(32);
const grant = { device: 'pump-1', sha256 };
const day = 86_400_000;

const open = async (t: Test, clock = new ManualClock()) => {
  const folder = await mkdtemp(join(tmpdir(), 'signed-url-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const schedules = new ManualSchedule();
  const start = () =>
    openFirmwareUrls(
      { clock, schedule: schedules.schedule, log },
      { path: join(folder, 'urls.json') },
    );
  return { clock, start, run: () => schedules.run(), urls: await start() };
};

const queryOf = (path: string): URLSearchParams => new URLSearchParams(path.split('?')[1]);
const tampered = (path: string, name: string, value: string): URLSearchParams => {
  const query = queryOf(path);
  query.set(name, value);
  return query;
};

t.test('an address is good for its device and its image until then', async (t) => {
  const { urls, clock, start } = await open(t);
  const path = urls.path(grant, 60_000);
  t.match(path, new RegExp(`^/firmware/sha256/${sha256}\\?`));
  t.same(urls.verify(sha256, queryOf(path)), { ok: true, device: 'pump-1' });
  t.same((await start()).verify(sha256, queryOf(path)), { ok: true, device: 'pump-1' }, 'restart');
  t.equal(urls.verify(sha256, new URLSearchParams('device=pump-1')), undefined, 'not signed');
  clock.advance(59_000);
  t.match(urls.verify(sha256, queryOf(path)), { ok: true });
  clock.advance(1_000);
  t.same(urls.verify(sha256, queryOf(path)), { ok: false, reason: 'URL_EXPIRED' });
});

t.test('nothing of an address can be changed', async (t) => {
  const { urls, clock } = await open(t);
  const path = urls.path(grant, 60_000);
  const later = String(clock.now() + day);
  const cases: readonly (readonly [string, string, string])[] = [
    ['device', 'pump-2', 'URL_SIGNATURE_INVALID'],
    ['device', '', 'URL_MALFORMED'],
    ['expires', later, 'URL_MALFORMED'],
    ['expires', later.slice(0, 10), 'URL_SIGNATURE_INVALID'],
    ['expires', `up999999.${clock.boot}`, 'URL_SIGNATURE_INVALID'],
    ['expires', '1e99', 'URL_MALFORMED'],
    ['expires', '', 'URL_MALFORMED'],
    ['signature', '', 'URL_SIGNATURE_INVALID'],
    ['signature', 'é', 'URL_SIGNATURE_INVALID'],
    ['signature', 'A'.repeat(43), 'URL_SIGNATURE_INVALID'],
    ['signature', `${queryOf(path).get('signature')}A`, 'URL_SIGNATURE_INVALID'],
  ];
  for (const [name, value, reason] of cases) {
    t.same(urls.verify(sha256, tampered(path, name, value)), { ok: false, reason }, name + value);
  }
  t.match(urls.verify('0'.repeat(64), queryOf(path)), { reason: 'URL_SIGNATURE_INVALID' });
  const other = await open(t);
  t.match(other.urls.verify(sha256, queryOf(path)), { reason: 'URL_SIGNATURE_INVALID' });
});

t.test('while nobody knows the time no date passes, and what is made counts uptime', async (t) => {
  const { urls, clock, start } = await open(t);
  const dated = urls.path(grant, 60_000);
  clock.trusted = false;
  clock.set(0);
  clock.advance(120_000);
  t.match(urls.verify(sha256, queryOf(dated)), { ok: true }, 'nothing expires');
  const counted = urls.path(grant, 60_000);
  clock.advance(59_000);
  clock.set(Date.UTC(2030, 0));
  clock.trusted = true;
  t.match(
    urls.verify(sha256, queryOf(counted)),
    { ok: true },
    'the time that is known now is another',
  );
  t.match(urls.verify(sha256, queryOf(dated)), { reason: 'URL_EXPIRED' });
  t.match(
    (await start()).verify(sha256, queryOf(counted)),
    { ok: true },
    'the program starts again',
  );
  clock.advance(1_000);
  t.match(urls.verify(sha256, queryOf(counted)), { reason: 'URL_EXPIRED' });
  clock.trusted = false;
  const last = urls.path(grant, 60_000);
  clock.boot = 'another';
  t.match(urls.verify(sha256, queryOf(last)), { reason: 'URL_EXPIRED' }, 'the machine does');
});

t.test('the key is drawn anew, and what the one before signed holds to its end', async (t) => {
  const { urls, clock, run } = await open(t);
  clock.advance(29 * day);
  await run();
  const path = urls.path(grant, 365 * day);
  clock.advance(day);
  await run();
  t.match(urls.verify(sha256, queryOf(path)), { ok: true });
  const next = urls.path(grant, longestTtlMs);
  t.not(queryOf(next).get('signature'), queryOf(path).get('signature'));
  clock.advance(longestTtlMs - day);
  t.match(urls.verify(sha256, queryOf(path)), { reason: 'URL_EXPIRED' }, 'it is bounded');
  t.match(urls.verify(sha256, queryOf(next)), { ok: true });
  clock.advance(30 * day);
  await run();
  clock.trusted = false;
  t.match(
    urls.verify(sha256, queryOf(path)),
    { reason: 'URL_SIGNATURE_INVALID' },
    'its key is gone',
  );
});

t.test('a key that was drawn in doubt grows old from when the time is known', async (t) => {
  const clock = new ManualClock();
  clock.trusted = false;
  const { urls, run } = await open(t, clock);
  const path = urls.path(grant, longestTtlMs);
  const isOurs = () => urls.verify(sha256, queryOf(path));
  clock.set(Date.UTC(2040, 0));
  clock.trusted = true;
  await run();
  t.match(isOurs(), { ok: true });
  clock.advance(29 * day);
  await run();
  const signed = (): string | null => queryOf(urls.path(grant, day)).get('signature');
  const before = signed();
  await run();
  t.equal(signed(), before);
  clock.advance(day);
  await run();
  t.not(signed(), before);
});
