import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { Revocations } from './revocations.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const clock = new ManualClock(Date.UTC(2026, 0, 1));
const one = { issuerKeyId: 'aa', serial: '01', device: 'pump', expiresAt: null };
const cause = { reason: 'key_compromise', actor: 'site:operator' } as const;

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-revocations-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const disk = { isFull: false };
  const commit = async (write: Write): Promise<void> => {
    if (disk.isFull) throw new HoldfastError('STORE_FULL', 'the disk is full');
    await store.commits.commit(write);
  };
  const open = () => Revocations.open({ site: { read: store.read, commit }, clock, log });
  const journal = () =>
    store.read.all(`SELECT body FROM journal_audit WHERE kind = 'certificate_revoked'`);
  return { disk, open, journal };
};

t.test('what a full disk refused is in force at once, and written when asked again', async (t) => {
  const { disk, open, journal } = await openSite(t);
  const revocations = await open();
  const cut: string[] = [];
  revocations.onRevoked((revoked) => cut.push(...revoked.map(({ serial }) => serial)));
  disk.isFull = true;
  await t.rejects(revocations.revoke([one], cause), { code: 'STORE_FULL' });
  t.ok(revocations.isRevoked('aa', '01'));
  t.same(cut, ['01'], 'its sessions are cut all the same');
  await t.rejects(revocations.revoke([one], cause), { code: 'STORE_FULL' }, 'and nobody is misled');
  disk.isFull = false;
  t.equal((await revocations.revoke([one], cause)).length, 1);
  t.equal((await journal()).length, 1);
  t.ok((await open()).isRevoked('aa', '01'), 'after the next start too');
  t.same(await revocations.revoke([one], cause), [], 'once it is written, it is not new');
  t.same(cut, ['01']);
});

t.test('what the disk refused of the plan is written when there is room', async (t) => {
  const { disk, open, journal } = await openSite(t);
  const revocations = await open();
  const { issuerKeyId: issuer_key_id, serial, device, expiresAt: expires_at } = one;
  const certificate = { issuer_key_id, serial, device, expires_at, ...cause, at: 1 };
  disk.isFull = true;
  await t.rejects(revocations.follow({ certificates: [certificate], root_crl: null }));
  disk.isFull = false;
  await revocations.store();
  await revocations.store();
  t.equal((await journal()).length, 1);
  t.ok((await open()).isRevoked('aa', '01'));
});
