import t from 'tap';
import { createTestFleet } from '../pki/test-fleet.js';
import { signDocument } from './signature.js';
import { signTime, verifyTime } from './time.js';

const fleet = await createTestFleet();
const signer = await fleet.planSigner();
const trust = { root: fleet.root.certificate };
const asked = { site: fleet.site, nonce: 'ab'.repeat(16) };
const refused = { code: 'TIME_REFUSED' };
const time = fleet.now + 5_000;

t.test('gives back the time that was signed, whatever the clock here says', async (t) => {
  t.equal(await verifyTime(await signTime(signer, { ...asked, time }), trust, asked), time);
});

t.test('takes no answer to another question, of another site, or by a stranger', async (t) => {
  const jws = await signTime(signer, { ...asked, time });
  await t.rejects(verifyTime(jws, trust, { ...asked, nonce: 'cd'.repeat(16) }), refused);
  await t.rejects(verifyTime(jws, trust, { ...asked, site: 'elsewhere' }), refused);
  const stranger = await (await createTestFleet()).planSigner();
  await t.rejects(verifyTime(await signTime(stranger, { ...asked, time }), trust, asked), refused);
  const gateway = await fleet.gateway('g');
  await t.rejects(verifyTime(await signTime(gateway, { ...asked, time }), trust, asked), refused);
});

t.test(
  'takes no time at which its signer was not certified, nor one that is revoked',
  async (t) => {
    for (const wild of [0, fleet.now - 86_400_000, fleet.now + 100 * 365 * 86_400_000]) {
      const jws = await signTime(signer, { ...asked, time: wild });
      await t.rejects(verifyTime(jws, trust, asked), refused, new Date(wild).toISOString());
    }
    const jws = await signTime(signer, { ...asked, time });
    await t.rejects(verifyTime(jws, { ...trust, isRevoked: () => true }, asked), refused);
  },
);

t.test('takes nothing that was signed as something else', async (t) => {
  const orders = await signDocument(signer, 'holdfast-orders', { ...asked, time });
  await t.rejects(verifyTime(orders, trust, asked), refused);
  await t.rejects(verifyTime('no JWS', trust, asked), refused);
});
