import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { createRequest, parseRequest } from './csr.js';
import { distinguishedName } from './distinguished-name.js';
import { createKey } from './keys.js';

t.test('gives back the key and the name that was asked for', async (t) => {
  const key = await createKey();
  const request = await createRequest(key, { commonName: 'device-1' });
  const parsed = await parseRequest(request);
  t.ok(parsed.publicKey.equals(key.publicKey));
  t.equal(parsed.commonName, 'device-1');
  const lines =
    Buffer.from(request)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  const pem = [
    '-----BEGIN CERTIFICATE REQUEST-----',
    ...lines,
    '-----END CERTIFICATE REQUEST-----',
  ];
  t.ok((await parseRequest(pem.join('\n'))).publicKey.equals(key.publicKey));
});

t.test('gives back the whole name, which a renewal compares', async (t) => {
  const name = { organization: 'fleet-a', unit: 'site-a', commonName: 'device-1' };
  const { subject } = await parseRequest(await createRequest(await createKey(), name));
  t.same(subject, distinguishedName(name));
});

t.test('refuses a request whose key was put in the place of another', async (t) => {
  const [mine, other] = [await createKey(), await createKey()];
  const request = Buffer.from(await createRequest(mine, { commonName: 'device-1' }));
  const point = (key: typeof mine) => key.publicKey.export({ type: 'spki', format: 'der' });
  const at = request.indexOf(point(mine));
  t.ok(at > 0);
  point(other).copy(request, at);
  await t.rejects(parseRequest(request), {
    code: 'CERTIFICATE_REQUEST_INVALID',
    message: /signature/,
  });
});

t.test('refuses keys of other kinds', async (t) => {
  for (const [type, options] of [
    ['ec', { namedCurve: 'P-384' }],
    ['ec', { namedCurve: 'secp256k1' }],
  ] as const) {
    const key = generateKeyPairSync(type, options);
    const p256 = await createKey();
    const request = Buffer.from(await createRequest(p256, { commonName: 'x' }));
    // Splices the foreign key in; its kind is refused before its signature is looked at.
    const spki = p256.publicKey.export({ type: 'spki', format: 'der' });
    const foreign = key.publicKey.export({ type: 'spki', format: 'der' });
    await t.rejects(parseRequest(splice(request, spki, foreign)), {
      code: 'CERTIFICATE_REQUEST_INVALID',
      message: /P-256 nor RSA/,
    });
  }
});

t.test('refuses what is no request', async (t) => {
  const garbage = [new Uint8Array(), new Uint8Array([0x30, 0x80]), 'hello', Buffer.alloc(20_000)];
  const nested = Buffer.alloc(16_000, 0x30);
  for (const input of [...garbage, nested]) {
    await t.rejects(parseRequest(input), { code: 'CERTIFICATE_REQUEST_INVALID' });
  }
});

/** Replaces a part of a request and sets the lengths of the two sequences around it anew. */
const splice = (request: Buffer, part: Buffer, by: Buffer): Buffer => {
  const at = request.indexOf(part);
  const outer = header(request, 0);
  const inner = header(request, outer.end);
  const info = request.subarray(inner.end, inner.end + inner.length);
  const newInfo = Buffer.concat([
    info.subarray(0, at - inner.end),
    by,
    info.subarray(at - inner.end + part.length),
  ]);
  const rest = request.subarray(inner.end + inner.length);
  return sequence(Buffer.concat([sequence(newInfo), rest]));
};

const header = (der: Buffer, at: number) => {
  const first = der[at + 1] ?? 0;
  if (first < 0x80) return { end: at + 2, length: first };
  const size = first & 0x7f;
  return { end: at + 2 + size, length: der.readUIntBE(at + 2, size) };
};

const sequence = (content: Buffer): Buffer => {
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([0x30, ...head]), content]);
};
