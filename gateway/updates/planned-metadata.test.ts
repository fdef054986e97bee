import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PlanDocument } from '@holdfast/protos/link/plan-documents';
import { referenceTo, writePlanDocument } from '@holdfast/provisioning/documents/plan';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import { openStore } from '@holdfast/provisioning/storage/store';
import t from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { readPlannedMetadata } from './planned-metadata.js';
import { campaignBody, log } from './updates-fixture.js';

t.test('gives devices what they judge firmware by, and nothing of plain jobs', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-planned-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  await t.rejects(readPlannedMetadata(store.read), { code: 'RESOURCE_NOT_FOUND' });

  const releases = new TestReleases();
  const { id, body } = releases.add({ model: 'pi', version: '2', image: Buffer.from('x') });
  const revision = 1;
  const job = campaignBody({ firmware: [], document: { secret: 1 } });
  const documents: PlanDocument[] = [
    ...releases.documents().map((document) => ({ ...document, revision })),
    { kind: 'firmware', id, revision, body },
    { kind: 'campaign', id: 'update', revision, body: campaignBody({ firmware: [id] }) },
    { kind: 'campaign', id: 'job', revision, body: job },
    { kind: 'policy', id: 'policy', revision, body: { expired_metadata_grace_ms: 5 } },
    { kind: 'users', id: 'users', revision, body: { users: [] } },
  ];
  const head = {
    ...{ fleet: 'f', site: 's', generation: 1, epoch: 1, revision },
    ...{ issued_at: 1, expires_at: 2, grace: 0 },
    documents: documents.map(referenceTo),
  };
  await store.commits.commit([
    {
      sql: `INSERT INTO plan_head (id, generation, revision, jws, payload, sha256, applied_at)
            VALUES (1, 1, 1, 'signed', ?, 'x', 1)`,
      params: [JSON.stringify(head)],
    },
    ...documents.map((document) => ({
      sql: 'INSERT INTO plan_documents (sha256, content) VALUES (?, ?)',
      params: [referenceTo(document).sha256, writePlanDocument(document).toString()],
    })),
  ]);
  const told = await readPlannedMetadata(store.read);
  t.equal(told.head, 'signed');
  const names = told.documents
    .map((text) => JSON.parse(text))
    .map(({ kind, id }) => `${kind} ${id}`);
  t.same(names.sort(), [
    'campaign update',
    'firmware pi@2',
    'metadata release-pi',
    'metadata root.1',
    'metadata targets',
    'policy policy',
  ]);
});
