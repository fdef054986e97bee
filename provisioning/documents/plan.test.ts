import type { OrderBatchPayload } from '@holdfast/protos/link/orders';
import type { PlanDocument, PlanHead } from '@holdfast/protos/link/plan-documents';
import { CompactSign } from 'jose';
import t from 'tap';
import { createTestFleet } from '../pki/test-fleet.js';
import { type AppliedPlan, decidePlan } from './decide-plan.js';
import { signOrders, verifyOrders } from './orders.js';
import {
  readPlanDocument,
  referenceTo,
  signPlanHead,
  verifyPlanHead,
  writePlanDocument,
} from './plan.js';

const fleet = await createTestFleet();
const stranger = await createTestFleet();
const signer = await fleet.planSigner();
const trust = { root: fleet.root.certificate, at: fleet.now } as const;

const document: PlanDocument = {
  kind: 'site',
  id: 'site',
  revision: 1,
  body: { display_name: 'Werk Süd' },
};
const head: PlanHead = {
  fleet: 'fleet-a',
  site: 'site-a',
  generation: 1,
  epoch: 1,
  revision: 7,
  issued_at: fleet.now,
  expires_at: fleet.now + 1_000,
  grace: 0,
  documents: [referenceTo(document)],
};
const batch: OrderBatchPayload = {
  site: 'site-a',
  log: 'ab'.repeat(16),
  first_seq: 5,
  previous_chain: '',
  orders: [5, 6].map((seq) => ({
    seq,
    kind: 'command' as const,
    body: { device: 'd', command: `c${seq}`, type: 'reboot', payload: null, expires_at: 1 },
  })),
};

t.test('a head comes back as it was signed, with the hash of its bytes', async (t) => {
  const [first, second] = [await signPlanHead(signer, head), await signPlanHead(signer, head)];
  t.not(first, second, 'each signature is another');
  const verified = await verifyPlanHead(first, trust);
  t.same(verified.head, head);
  t.equal((await verifyPlanHead(second, trust)).sha256, verified.sha256);
});

t.test('believes the plan signer of this fleet alone', async (t) => {
  const refused = { code: 'PLAN_SIGNATURE_INVALID' };
  const byStranger = await signPlanHead(await stranger.planSigner(), head);
  await t.rejects(verifyPlanHead(byStranger, trust), refused);
  for (const other of [
    await fleet.controlPlane(),
    await fleet.gateway('gateway-1'),
    await fleet.device('device-1'),
  ]) {
    await t.rejects(verifyPlanHead(await signPlanHead(other, head), trust), refused);
  }
  const mixed = await signPlanHead({ ...signer, key: (await fleet.planSigner()).key }, head);
  await t.rejects(verifyPlanHead(mixed, trust), refused, 'a certificate without its key');
  const revoked = { ...trust, isRevoked: () => true };
  await t.rejects(verifyPlanHead(await signPlanHead(signer, head), revoked), refused);
  const late = { ...trust, at: fleet.now + 400 * 86_400_000 };
  await t.rejects(verifyPlanHead(await signPlanHead(signer, head), late), refused);
  await verifyPlanHead(await signPlanHead(signer, head), { ...trust, at: 'unchecked' });
});

t.test('refuses what was changed, unsigned, or signed as something else', async (t) => {
  const refused = { code: 'PLAN_SIGNATURE_INVALID' };
  const jws = await signPlanHead(signer, head);
  const [header = '', payload = '', signature = ''] = jws.split('.');
  const changed = Buffer.from(JSON.stringify({ ...head, revision: 8 })).toString('base64url');
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  for (const text of [
    `${header}.${changed}.${signature}`,
    `${none}.${payload}.`,
    `${header}.${payload}.`,
    '',
    'a.b.c',
    'x'.repeat(5 * 1024 * 1024),
    await signOrders(signer, batch),
  ]) {
    await t.rejects(verifyPlanHead(text, trust), refused);
  }
  const x5c = [Buffer.from(signer.certificate.der).toString('base64')];
  const malformed = await new CompactSign(Buffer.from('{"site":"site-a"}'))
    .setProtectedHeader({ alg: 'ES256', typ: 'holdfast-plan', x5c })
    .sign(signer.key.privateKey);
  await t.rejects(verifyPlanHead(malformed, trust), { code: 'PLAN_HEAD_INVALID' });
});

t.test('a document is the one that its head names, or none', async (t) => {
  const bytes = writePlanDocument(document);
  const reference = referenceTo(document);
  t.same(readPlanDocument(bytes, reference), document);
  const invalid = { code: 'PLAN_DOCUMENT_INVALID' };
  const other = writePlanDocument({ ...document, body: { display_name: 'Werk Nord' } });
  t.throws(() => readPlanDocument(other, reference), invalid);
  t.throws(() => readPlanDocument(bytes, { ...reference, id: 'x' }), invalid);
  t.throws(() => readPlanDocument(bytes, { ...reference, revision: 2 }), invalid);
  // The right hash of something malformed.
  const strange = { ...document, body: {} } as unknown as PlanDocument;
  t.throws(() => readPlanDocument(writePlanDocument(strange), referenceTo(strange)), {
    ...invalid,
    message: /display_name/,
  });
});

t.test('decides on a plan by site, generation, revision and bytes', async (t) => {
  const applied: AppliedPlan = { generation: 2, revision: 5, sha256: 'a' };
  const decide = (change: Partial<PlanHead>, sha256: string, of?: AppliedPlan) => {
    const target = { fleet: 'fleet-a', site: 'site-a', applied: of };
    const verified = { head: { ...head, ...change }, sha256 };
    const { decision, ...rest } = decidePlan(target, verified);
    return 'code' in rest ? rest.code : decision;
  };
  t.equal(decide({}, 'x'), 'apply', 'the first one');
  t.equal(decide({ site: 'site-b' }, 'x'), 'PLAN_OTHER_SITE');
  t.equal(decide({ fleet: 'fleet-b' }, 'x', applied), 'PLAN_OTHER_SITE');
  const cases: [generation: number, revision: number, sha256: string, expected: string][] = [
    [2, 6, 'x', 'apply'],
    [3, 1, 'x', 'apply'],
    [2, 5, 'a', 'keep'],
    [2, 5, 'x', 'PLAN_CONFLICT'],
    [2, 4, 'a', 'PLAN_OLDER'],
    [1, 9, 'a', 'PLAN_OLDER'],
  ];
  for (const [generation, revision, sha256, expected] of cases) {
    t.equal(
      decide({ generation, revision }, sha256, applied),
      expected,
      `${generation}.${revision}`,
    );
  }
});

t.test('orders come back as they were signed, for this site, without a hole', async (t) => {
  const here = { ...trust, site: 'site-a' };
  t.same(await verifyOrders(await signOrders(signer, batch), here), batch);
  const refused = { code: 'ORDERS_REFUSED' };
  const [first] = batch.orders;
  if (first === undefined) return;
  const cases: [OrderBatchPayload, RegExp][] = [
    [{ ...batch, site: 'site-b' }, /site-b/],
    [{ ...batch, orders: [first, { ...first, seq: 7 }] }, /numbered/],
    [{ ...batch, first_seq: 4 }, /numbered/],
    [{ ...batch, orders: [] }, /malformed/],
  ];
  for (const [other, message] of cases) {
    await t.rejects(verifyOrders(await signOrders(signer, other), here), { ...refused, message });
  }
  await t.rejects(verifyOrders(await signPlanHead(signer, head), here), refused);
  const byStranger = await signOrders(await stranger.planSigner(), batch);
  await t.rejects(verifyOrders(byStranger, here), refused);
});
