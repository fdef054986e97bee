import t from 'tap';
import { originAddress, SignInLimit } from './sign-in-limit.js';

const from = (address: string) => ({ address });

t.test('an attempt that has to wait makes the wait no longer', async (t) => {
  const limit = new SignInLimit();
  for (let at = 0; at < 5; at += 1) t.equal(limit.begin('anna', from('a'), 0).waitMs, 0);
  for (let at = 0; at < 100; at += 1) t.equal(limit.begin('anna', from('a'), 1).waitMs, 999);
  t.equal(limit.begin('anna', from('a'), 1_000).waitMs, 0);
  t.equal(limit.begin('anna', from('a'), 1_000).waitMs, 2_000);
});

t.test('the wait ends at five minutes, and an hour without a failure forgets it', async (t) => {
  const limit = new SignInLimit();
  let now = 0;
  let longest = 0;
  for (let at = 0; at < 40; at += 1) {
    const { waitMs } = limit.begin('anna', from('a'), now);
    longest = Math.max(longest, waitMs);
    now += waitMs;
  }
  t.equal(longest, 300_000);
  now += 3_600_000;
  for (let at = 0; at < 5; at += 1) t.equal(limit.begin('anna', from('a'), now).waitMs, 0);
  t.equal(limit.begin('anna', from('a'), now).waitMs, 1_000);
});

t.test('an attack from everywhere leaves every address an attempt of its own', async (t) => {
  const limit = new SignInLimit();
  for (let host = 0; host < 200; host += 1) {
    for (let at = 0; at < 3; at += 1) limit.begin('anna', from(`attacker ${host}`), at);
  }
  t.equal(limit.begin('anna', from('the van'), 10).waitMs, 0, 'the technician is heard');
  t.equal(limit.begin('anna', from('the van'), 10).waitMs, 1_000, 'once, then he waits');
  for (let at = 0; at < 5; at += 1) {
    t.equal(limit.begin('bert', from('the van 2'), 10).waitMs, 0, 'others are not concerned');
  }
});

t.test('an address that tries everybody waits, too', async (t) => {
  const limit = new SignInLimit();
  for (let at = 0; at < 20; at += 1) t.equal(limit.begin(`user ${at}`, from('a'), 0).waitMs, 0);
  t.ok(limit.begin('user 21', from('a'), 0).waitMs > 0);
  t.equal(limit.begin('user 21', from('b'), 0).waitMs, 0);
});

t.test('success forgives what this origin failed, and no other', async (t) => {
  const limit = new SignInLimit();
  for (let at = 0; at < 5; at += 1) limit.begin('anna', from('a'), 0);
  for (let at = 0; at < 4; at += 1) limit.begin('anna', from('b'), 0);
  limit.succeeded('anna', from('b'));
  t.equal(limit.begin('anna', from('b'), 0).waitMs, 0);
  t.ok(limit.begin('anna', from('a'), 0).waitMs > 0);
});

t.test('what is remembered is bounded', async (t) => {
  const limit = new SignInLimit({ maxCounts: 100 });
  for (let at = 0; at < 10_000; at += 1) limit.begin(`user ${at}`, from(`address ${at}`), at);
  t.pass('the oldest are forgotten');
});

t.test('an address is what one host has of them', async (t) => {
  for (const [remote, address] of [
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['', ''],
  ] as const) {
    t.equal(originAddress(remote), address, remote);
  }
});
