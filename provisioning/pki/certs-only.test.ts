import t from 'tap';
import { encodeCertsOnly, parseCertsOnly } from './certs-only.js';
import { createTestFleet } from './test-fleet.js';

t.test('certificates travel in a PKCS#7, in their order', async (t) => {
  const { root, siteCa } = await createTestFleet();
  const bag = encodeCertsOnly([siteCa.certificate, root.certificate]);
  t.same(
    parseCertsOnly(bag).map(({ sha256 }) => sha256),
    [siteCa.certificate.sha256, root.certificate.sha256],
  );
  t.same(parseCertsOnly(encodeCertsOnly([])), []);
  t.throws(() => parseCertsOnly(bag.subarray(0, bag.length - 7)), { code: 'CERTIFICATE_INVALID' });
  t.throws(() => parseCertsOnly(new Uint8Array(70_000)), { code: 'CERTIFICATE_INVALID' });
});
