import { canonicalJson, canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import { TestReleases } from '@holdfast/provisioning/firmware/test-releases';
import t from 'tap';
import { readPlannedMetadata } from './planned-metadata.js';
import { campaignBody, openTestSite } from './updates-fixture.js';

t.test(
  'gives the head as it was signed, and what it names for devices to judge firmware by',
  async (t) => {
    const { store } = await openTestSite(t);
    await t.rejects(readPlannedMetadata(store.read), { code: 'RESOURCE_NOT_FOUND' });
    const releases = new TestReleases();
    releases.add({ model: 'pi', version: '2', image: Buffer.from('x') });
    const documents = [
      ...releases.documents().map((document) => ({ ...document, revision: 1 })),
      { kind: 'campaign', id: 'update', revision: 1, body: campaignBody() },
      { kind: 'policy', id: 'policy', revision: 1, body: { expired_metadata_grace_ms: 5 } },
    ];
    // What a plain job says to its devices is not for the others, and who may sign in is not for devices.
    const job = campaignBody({ firmware: [], document: { secret: 1 } });
    const others = [
      { kind: 'campaign', id: 'job', revision: 1, body: job },
      { kind: 'users', id: 'users', revision: 1, body: { users: [] } },
    ];
    const named = [...documents, ...others].map((document) => ({
      ...{ kind: document.kind, id: document.id, revision: 1 },
      sha256: canonicalSha256(document),
    }));
    const site = { kind: 'site', id: 'site', revision: 1, sha256: 'ab'.repeat(32) };
    const head = {
      ...{ fleet: 'f', site: 's', generation: 1, epoch: 1, revision: 1, issued_at: 1 },
      ...{ expires_at: 2, grace: 0, documents: [site, ...named] },
    };
    await store.commits.commit([
      {
        sql: `INSERT INTO plan_head (id, generation, revision, jws, payload, sha256, applied_at)
            VALUES (1, 1, 1, 'head.as.signed', ?, 'x', 1)`,
        params: [JSON.stringify(head)],
      },
      ...[...documents, ...others].map((document) => ({
        sql: 'INSERT INTO plan_documents (sha256, content) VALUES (?, ?)',
        params: [canonicalSha256(document), canonicalJson(document)],
      })),
    ]);
    t.same(await readPlannedMetadata(store.read), {
      head: 'head.as.signed',
      documents: documents.map((document) => canonicalJson(document)),
    });
    await store.commits.commit([
      {
        sql: 'DELETE FROM plan_documents WHERE sha256 = ?',
        params: [canonicalSha256(documents[0])],
      },
    ]);
    await t.rejects(readPlannedMetadata(store.read), { code: 'STORE_UNAVAILABLE' }, 'and no end');
  },
);
