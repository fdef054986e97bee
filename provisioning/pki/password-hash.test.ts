import { passwordHash } from '@holdfast/protos/local/people';
import t from 'tap';
import * as v from 'valibot';
import { hashPassword, isPassword, nobodysHash } from './password-hash.js';

t.test('a hash is of its password alone, and no two are alike', async (t) => {
  const [hash, other] = await Promise.all([
    hashPassword('correct horse'),
    hashPassword('correct horse'),
  ]);
  t.not(hash, other);
  t.match(hash, /^scrypt\$ln=15,r=8,p=3\$/, 'it says what it cost');
  t.equal(await isPassword('correct horse', hash), true);
  t.equal(await isPassword(Buffer.from('correct horse'), hash), true);
  t.equal(await isPassword('correct horsf', hash), false);
  for (const one of [hash, nobodysHash]) t.equal(v.is(passwordHash, one), true);
});

t.test('a password is the same however the keyboard composes it', async (t) => {
  const hash = await hashPassword('Zürichs\u00fcd-1');
  t.equal(await isPassword('Zürichs\u0075\u0308d-1', hash), true);
});

t.test('a hash of before, without parameters, still holds', async (t) => {
  const earlier = 'scrypt$AAECAwQFBgcICQoLDA0ODw==$fFUJus4toIj6fuOy8/b+oQ4AHq1LXLKRX6BJBWkvv5I=';
  t.equal(v.is(passwordHash, earlier), true);
  t.equal(await isPassword('of before', earlier), true);
  t.equal(await isPassword('of after', earlier), false);
});

t.test('what is no hash, or would cost too much, is nobody’s', async (t) => {
  const [, , salt, key] = nobodysHash.split('$');
  for (const hash of [
    '',
    'secret-secret',
    `md5$ln=15,r=8,p=3$${salt}$${key}`,
    `scrypt$ln=30,r=8,p=3$${salt}$${key}`,
    `scrypt$ln=15,r=8,p=99$${salt}$${key}`,
    `scrypt$ln=15,r=8,p=3$${salt}$AAAA`,
    `scrypt$ln=15,r=8,p=3$${salt}$${key}$more`,
  ]) {
    t.equal(await isPassword('a', hash), false, hash);
    t.equal(v.is(passwordHash, hash), false, hash);
  }
});

t.test('a password that is too short or too long is refused', async (t) => {
  await t.rejects(hashPassword('123456789'), { code: 'PASSWORD_UNFIT' });
  await t.rejects(hashPassword('x'.repeat(257)), { code: 'PASSWORD_UNFIT' });
});
