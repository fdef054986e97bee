import t from 'tap';
import { createSecret, formatClaimCode, parseClaimCode } from '../pki/claim-code.js';
import { pictureOf, readQr } from './labels/grey-picture.js';
import { qrLines, qrOfClaim, quietModules } from './qr-code.js';

const codes = [undefined, '[2001:db8::1]:8443', 'a-gateway-of-a-site.example.org:8443'].map(
  (address) =>
    formatClaimCode({
      kind: 'device',
      secret: createSecret(),
      rootSha256: '5a'.repeat(32),
      address,
    }),
);

t.test('another program reads the code out of it', async (t) => {
  for (const code of codes) {
    const modules = qrOfClaim(code);
    const blank = Array.from({ length: quietModules }, () => false);
    const rows = modules.map((row) => [...blank, ...row, ...blank]);
    const empty = blank.map(() => rows[0]?.map(() => false) ?? []);
    const said = readQr(pictureOf([...empty, ...rows, ...empty]));
    t.same(parseClaimCode(said ?? ''), parseClaimCode(code));
    t.ok(modules.length <= 49, `${modules.length} modules: small enough for a label`);
  }
  t.throws(() => qrOfClaim('no code'), { code: 'CLAIM_CODE_INVALID' });
});

t.test('is drawn for terminals with colours and without', async (t) => {
  const [code = ''] = codes;
  for (const colours of [true, false]) {
    const lines = qrLines(qrOfClaim(code), { colours }).map((line) =>
      // The escapes around each line, which say that it is black on white.
      line.slice(colours ? 10 : 0).replace(colours ? '\u001b[0m' : '', ''),
    );
    const halves = (line: string, signs: string) =>
      [...line].map((sign) => signs.includes(sign) === colours);
    const rows = lines.flatMap((line) => [halves(line, '█▀'), halves(line, '█▄')]);
    t.same(parseClaimCode(readQr(pictureOf(rows)) ?? ''), parseClaimCode(code));
  }
});
