import t from 'tap';
import { formatLoginCode, type LoginCode, parseLoginCode } from './login-code.js';

const login: LoginCode = {
  kind: 'gateway',
  address: '[fe80::1]:8444',
  token: 'hfo_0123456789abcdefghijklmnopqrstuvwxyz',
  rootSha256: 'ab'.repeat(32),
};

t.test('gives back what was put in, also with white space around it', async (t) => {
  t.same(parseLoginCode(`  ${formatLoginCode(login)}\n`), login);
  const cloud: LoginCode = { ...login, kind: 'cloud', address: 'cloud.example:7444' };
  t.same(parseLoginCode(formatLoginCode(cloud)), cloud);
});

t.test('refuses what is no code or not whole, and says what to do', async (t) => {
  const code = formatLoginCode(login);
  for (const wrong of [
    '',
    'hfg1-abc',
    'hfl1-',
    code.slice(0, 40),
    code.slice(0, -6),
    'hfl1-AAAA',
  ]) {
    t.throws(() => parseLoginCode(wrong), { code: 'LOGIN_CODE_INVALID' }, wrong);
  }
});

t.test('tells every single wrong sign', async (t) => {
  const code = formatLoginCode(login);
  const accepted = [...code].flatMap((sign, index) => {
    const wrong = `${code.slice(0, index)}${sign === 'A' ? 'B' : 'A'}${code.slice(index + 1)}`;
    try {
      return [parseLoginCode(wrong)];
    } catch {
      return [];
    }
  });
  // The last sign of base64 may hold bits that no byte has.
  t.ok(accepted.every((read) => JSON.stringify(read) === JSON.stringify(login)));
  t.ok(accepted.length <= 1);
});
