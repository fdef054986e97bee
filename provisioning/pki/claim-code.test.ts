import t from 'tap';
import {
  type ClaimCode,
  createSecret,
  formatAddress,
  formatClaimCode,
  hashClaim,
  parseAddress,
  parseClaimCode,
} from './claim-code.js';

const rootSha256 = '00ff'.repeat(16);
const secret = createSecret();
const gateway: ClaimCode = {
  kind: 'gateway',
  secret,
  rootSha256,
  address: 'cloud.example.org:7444',
};
const device: ClaimCode = { kind: 'device', secret, rootSha256, address: undefined };

t.test('gives back what was put in, of both kinds, with and without an address', async (t) => {
  for (const claim of [gateway, device, { ...device, address: '[fe80::1]:8443' }]) {
    t.same(parseClaimCode(formatClaimCode(claim)), claim);
  }
  t.match(formatClaimCode(gateway), /^hfg1-([0-9a-z]{6}-)+[0-9a-z]{1,6}$/);
  t.match(formatClaimCode(device), /^hfd1-/);
});

t.test('reads what people make of a code', async (t) => {
  // Digits that are read as letters and the other way round.
  const claim = { ...device, rootSha256: '0842108421'.padEnd(64, '0') };
  const code = formatClaimCode(claim);
  t.match(code, /0/);
  t.match(code, /1/);
  const [prefix, ...groups] = code.split('-');
  const typed = groups.join(' ').replaceAll('0', 'O').replaceAll('1', 'l').toUpperCase();
  t.same(parseClaimCode(`  ${prefix?.toUpperCase()}- ${typed}\n`), claim);
});

t.test(
  'tells every single wrong sign and every swap of neighbours from a code that is not known',
  async (t) => {
    const code = formatClaimCode(gateway);
    const signs = [...code];
    const mistyped: string[] = [];
    for (let i = 5; i < signs.length; i += 1) {
      const [sign, next] = [signs[i], signs[i + 1]];
      if (sign === '-' || sign === undefined) continue;
      const other = sign === 'z' ? 'y' : 'z';
      mistyped.push([...signs.slice(0, i), other, ...signs.slice(i + 1)].join(''));
      if (next === undefined || next === '-' || next === sign) continue;
      mistyped.push([...signs.slice(0, i), next, sign, ...signs.slice(i + 2)].join(''));
    }
    t.ok(mistyped.length > 150);
    const accepted = mistyped.filter((text) => {
      try {
        parseClaimCode(text);
        return true;
      } catch {
        return false;
      }
    });
    t.same(accepted, []);
  },
);

t.test('says what to do about a code that cannot be used', async (t) => {
  const code = formatClaimCode(device);
  const cases: [string, RegExp][] = [
    ['', /Copy it whole/],
    ['hfx1-abc', /begins with neither hfg1- nor hfd1-/],
    [code.slice(0, 40), /a part of it is missing/],
    [code.slice(0, -6), /mistyped or cut off|a part of it is missing/],
    [code.replace(/.$/, 'u'), /a sign that no code has/],
    [`${code}00`, /./],
    [formatClaimCode(gateway).replace('hfg1', 'hfd1'), /mistyped/],
  ];
  for (const [text, message] of cases) {
    t.throws(() => parseClaimCode(text), { code: 'CLAIM_CODE_INVALID', message });
  }
  t.throws(() => parseClaimCode(code, 'gateway'), {
    message: /it is for a device.*Ask for a gateway code/,
  });
});

t.test('makes no code of wrong parts', async (t) => {
  const bad = { code: 'CLAIM_CODE_INVALID' };
  t.throws(() => formatClaimCode({ ...gateway, address: undefined }), bad);
  t.throws(() => formatClaimCode({ ...device, secret: secret.slice(1) }), bad);
  t.throws(() => formatClaimCode({ ...device, rootSha256: 'abcd' }), bad);
  t.throws(() => formatClaimCode({ ...gateway, address: 'host' }), { code: 'REQUEST_INVALID' });
});

t.test('secrets have 80 bits that differ', async (t) => {
  const secrets = new Set(Array.from({ length: 100 }, createSecret));
  t.equal(secrets.size, 100);
  for (const one of secrets) t.equal(one.length, 16);
});

t.test('a stored hash is of one secret at one site', async (t) => {
  const hash = hashClaim(secret, 'site-a');
  t.match(hash, /^[0-9a-f]{64}$/);
  t.equal(hashClaim(secret.toUpperCase(), 'site-a'), hash);
  t.not(hashClaim(secret, 'site-b'), hash);
  t.not(hashClaim(createSecret(), 'site-a'), hash);
  t.throws(() => hashClaim('short', 'site-a'), { code: 'CLAIM_CODE_INVALID' });
});

t.test('addresses are a host and a port', async (t) => {
  for (const [text, address] of [
    ['gateway.local:8443', { host: 'gateway.local', port: 8443 }],
    ['10.0.0.1:1', { host: '10.0.0.1', port: 1 }],
    ['[2001:db8::1]:65535', { host: '2001:db8::1', port: 65535 }],
  ] as const) {
    t.same(parseAddress(text), address);
    t.equal(formatAddress(address), text);
  }
  for (const text of [
    '',
    'host',
    'host:',
    'host:0',
    'host:65536',
    '2001:db8::1:80',
    'a b:1',
    '/x:1',
  ]) {
    t.throws(() => parseAddress(text), { code: 'REQUEST_INVALID' }, text);
  }
});
