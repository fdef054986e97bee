import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OrderBatch } from '@holdfast/protos/gen/holdfast/v1/link';
import { signOrders, verifyOrders } from '@holdfast/provisioning/documents/orders';
import { signPlanHead } from '@holdfast/provisioning/documents/plan';
import { signTime, verifyTime } from '@holdfast/provisioning/documents/time';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import t from 'tap';
import { Signals } from '../bus/signals.js';
import { openFleetAuthority } from '../certificates/fleet-authority.js';
import { issueGatewayCertificates } from '../certificates/gateway-certificates.js';
import { EffectRegistry } from '../effects/effect-registry.js';
import { PlanPublisher } from '../sites/plan-publisher.js';
import { insertSite } from '../sites/site-records.js';
import { openEmbeddedEngine } from '../store/embedded-engine.js';
import { StandInLink } from '../testing/gateway-stand-in.js';
import { Contacts } from './contacts.js';
import { openLinkServer } from './link-server.js';
import { type NewOrder, Orders, readOrders } from './orders.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const now = () => Date.now();

/** A link with nothing around it but what it needs, for a site `a` with a gateway `g`. */
const openLink = async (t: { teardown(end: () => unknown): unknown }) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-down-'));
  const authority = await openFleetAuthority({ folder, fleet: 'f', hosts: ['127.0.0.1'], now });
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log });
  const signals = new Signals();
  const orders = new Orders({ signals, now });
  const plans = new PlanPublisher(
    { engine, signals, now, log, sign: (head) => signPlanHead(authority.planSigner, head) },
    { fleet: 'f' },
  );
  const { root, planSigner } = authority;
  const server = await openLinkServer(
    {
      engine,
      signals,
      orders,
      plans,
      now,
      log,
      effects: new EffectRegistry(),
      contacts: new Contacts(),
      root: root.certificate,
      issuer: root,
      signOrders: (batch) => signOrders(planSigner, batch),
      signTime: (time) => signTime(planSigner, time),
    },
    { host: '127.0.0.1', port: 0, certificate: authority.server },
  );
  t.teardown(async () => {
    await server.close();
    await plans.close();
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });
  const [key, ca] = [await createKey(), await createKey()];
  const { gateway } = await engine.write(async (tx) => {
    await insertSite(tx, { site: 'a', displayName: 'a', now: 1 });
    await tx.db.updateTable('sites').set({ epoch: 1, gateway_id: 'g' }).execute();
    return issueGatewayCertificates(
      tx,
      { root, now: now() },
      { site: 'a', gateway: 'g', epoch: 1 },
      {
        gateway: { publicKey: key.publicKey },
        siteCa: { publicKey: ca.publicKey },
      },
    );
  });
  const dial = (): StandInLink => {
    const link = new StandInLink(
      { root: root.certificate.pem, cert: gateway.pem, key: privatePem(key) },
      `127.0.0.1:${server.port}`,
    );
    t.teardown(() => link.close());
    return link;
  };
  const append = (...ids: string[]) =>
    engine.write((tx) => orders.append(tx, 'a', ids.map(command)));
  const seal = () => engine.write((tx) => orders.seal(tx, 'a', 10));
  const read = async ({ jws }: OrderBatch) => {
    const trust = { root: root.certificate, at: now(), site: 'a' };
    const batch = await verifyOrders(jws, trust);
    return batch.orders.map(({ seq, body }) => [seq, 'command' in body ? body.command : '']);
  };
  const chainAt = async (seq: number) => {
    const [order] = await readOrders(engine.read, 'a', { after: seq - 1, maxBytes: 1 });
    return Buffer.from(order?.chain ?? '', 'hex');
  };
  return { dial, append, seal, read, chainAt, root: root.certificate };
};

const command = (id: string): NewOrder => ({
  kind: 'command',
  body: { device: 'd', command: id, type: 't', payload: 'x'.repeat(2_000), expires_at: 9 },
});

t.test('sends orders signed, from where the site stands, and again what it lost', async (t) => {
  const { dial, append, seal, read, chainAt } = await openLink(t);
  await append('1', '2');
  await seal();
  const ordersChain = await chainAt(1);
  const first = dial();
  first.hello();
  const batch = await first.next('orders');
  t.same(await read(batch), [
    [1, '1'],
    [2, '2'],
  ]);
  first.say({ $case: 'ordersCommitted', value: { log: batch.log, seq: 1n } });
  await append('3');
  t.same(await read(await first.next('orders')), [[3, '3']]);
  first.close();

  const second = dial();
  second.hello({ ordersLog: batch.log, ordersSeq: 1n, ordersChain });
  t.same(await read(await second.next('orders')), [
    [2, '2'],
    [3, '3'],
  ]);
});

t.test('keeps to the window that the gateway gave', async (t) => {
  const { dial, append, read } = await openLink(t);
  await append('1', '2', '3');
  const link = dial();
  link.hello({ windowBytes: 1 });
  const first = await link.next('orders');
  t.same(await read(first), [[1, '1']]);
  // Whatever else were sent would come before the answer.
  link.say({ $case: 'ping', value: { id: 1n } });
  await link.next('pong');
  t.notOk(link.has('orders'), 'nothing more until it is acknowledged');
  link.say({ $case: 'ordersCommitted', value: { log: first.log, seq: 1n } });
  t.same(await read(await link.next('orders')), [[2, '2']]);
});

t.test('tells a gateway that asks what time it is, signed', async (t) => {
  const { dial, root } = await openLink(t);
  const link = dial();
  link.hello();
  await link.next('welcome');
  const nonce = Buffer.alloc(16, 7);
  const before = now();
  link.say({ $case: 'timeAsked', value: { nonce } });
  const { jws } = await link.next('signedTime');
  const time = await verifyTime(jws, { root }, { site: 'a', nonce: nonce.toString('hex') });
  t.ok(time >= before && time <= now());
  link.say({ $case: 'timeAsked', value: { nonce: Buffer.alloc(3) } });
  t.equal((await link.next('refused')).code, 'REQUEST_INVALID');
});
