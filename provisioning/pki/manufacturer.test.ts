import t from 'tap';
import { parseAuthorities, verifyManufacturer } from './manufacturer.js';
import { keyUsages } from './oids.js';
import { createTestFleet } from './test-fleet.js';
import { createTestManufacturer, type ManufacturedCredentials } from './test-manufacturer.js';

const now = Date.UTC(2026, 0, 1);
const acme = await createTestManufacturer({ now });
const authorities = [acme.authority.certificate];

/** What a TLS server sees of the chain. */
const chainOf = ({ tls }: Pick<ManufacturedCredentials, 'tls'>): Uint8Array[] =>
  (tls.cert.match(/-----BEGIN[^-]+-----([^-]+)/g) ?? []).map((block) =>
    Buffer.from(block.replace(/-----.*-----/, ''), 'base64'),
  );

t.test('knows a device by what its manufacturer calls it', async (t) => {
  const byName = await acme.device({ organization: 'Acme', commonName: 'acme-1' });
  t.match(verifyManufacturer({ presented: chainOf(byName), authorities, at: now }), {
    name: 'acme-1',
    sha256: byName.certificate.sha256,
  });
  const bySerial = await acme.device({ commonName: 'Acme Pump 3000', serialNumber: '77' });
  t.match(verifyManufacturer({ presented: chainOf(bySerial), authorities, at: now }), {
    name: '77',
  });
});

t.test('refuses what does not lead to the authority, or may not stand for a device', async (t) => {
  const device = await acme.device({ commonName: 'acme-1' });
  const chain = chainOf(device);
  const other = await createTestManufacturer({ now });
  const refused = async (
    request: Partial<Parameters<typeof verifyManufacturer>[0]>,
    reason: string,
    message = reason,
  ) => {
    const verdict = verifyManufacturer({ presented: chain, authorities, at: now, ...request });
    t.equal(verdict.refused, reason, message);
  };
  await refused({ presented: [] }, 'malformed');
  await refused({ presented: [Buffer.from('no certificate')] }, 'malformed');
  await refused({ presented: chain.slice(0, 1) }, 'chain', 'without the authority in between');
  await refused({ authorities: [] }, 'chain');
  await refused(
    { presented: chainOf(await other.device({ commonName: 'acme-1' })) },
    'chain',
    'of another one with the same names',
  );
  const selfSigned = new Uint8Array(other.authority.certificate.der);
  await refused({ presented: [selfSigned] }, 'chain', 'self-signed');
  await refused(
    { presented: [new Uint8Array(acme.authority.certificate.der)] },
    'usage',
    'the authority itself',
  );
  await refused(
    { presented: chainOf(await acme.device({ organization: 'Acme' })) },
    'name',
    'without a name',
  );
  await refused(
    {
      presented: chainOf(
        await acme.device({ commonName: 'acme-2' }, { usages: [keyUsages.serverAuth] }),
      ),
    },
    'usage',
  );
  await refused({ isRevoked: (_keyId, serial) => serial === device.certificate.serial }, 'revoked');
});

t.test('looks at dates while the clock is trusted, and at those alone it leaves', async (t) => {
  const device = await acme.device({ commonName: 'acme-1' }, { notAfter: now + 1_000 });
  const verify = (at: number | 'unchecked') =>
    verifyManufacturer({ presented: chainOf(device), authorities, at });
  t.equal(verify(now).refused, undefined);
  t.equal(verify(now + 2_000).refused, 'expired');
  t.equal(verify(now - 2_000).refused, 'not-yet-valid');
  t.equal(verify('unchecked').refused, undefined);
});

t.test('takes only authorities of a manufacturer, and says which is none', async (t) => {
  const fleet = await createTestFleet({ now });
  const root = fleet.root.certificate;
  const device = await acme.device({ commonName: 'acme-1' });
  t.equal(parseAuthorities(acme.pem, { root, at: now }).length, 1);
  const refused: [pem: string, message: RegExp][] = [
    ['nothing', /1 to 8 certificates/],
    [device.certificate.pem, /"acme-1" is no authority/],
    [root.pem, /one of this fleet/],
    [fleet.siteCa.certificate.pem, /one of this fleet/],
  ];
  for (const [pem, message] of refused) {
    t.throws(() => parseAuthorities(pem, { root, at: now }), {
      code: 'CERTIFICATE_INVALID',
      message,
    });
  }
  t.throws(() => parseAuthorities(acme.pem, { root, at: now + 101 * 365 * 86_400_000 }), /expired/);
});
