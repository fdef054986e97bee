import { sitePolicy } from '@holdfast/protos/link/site-policy';
import type { ConflictRule } from '@holdfast/protos/semantics/conflict-policy';
import t from 'tap';
import * as v from 'valibot';
import { cloudConfiguration } from '../configuration.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { policyDocument } from './policy-document.js';

const open = async (t: Parameters<typeof storeUnderTest>[0]) => {
  const { engine } = await storeUnderTest(t);
  const setRules = (site: string, rules: readonly ConflictRule[]) =>
    engine.write(({ db }) =>
      db
        .insertInto('conflict_policies')
        .values({ site_id: site, rules: JSON.stringify(rules), version: 1, updated_at: 1 })
        .execute(),
    );
  const documentsOf = (policy: object, site = 'a') =>
    policyDocument(v.parse(cloudConfiguration, { policy }).policy)(engine.read, site);
  return { setRules, documentsOf };
};

t.test('says what sites do not assume anyway', async (t) => {
  const { documentsOf } = await open(t);
  t.same(await documentsOf({}), []);
  const [document] = await documentsOf({ staleStopsRenewal: true, staleRevocationsDays: 3 });
  if (document?.kind !== 'policy') throw new Error('no policy');
  const policy = sitePolicy(document.body);
  t.equal(policy.staleRevocations.afterMs, 3 * 86_400_000);
  t.same([...policy.staleRevocations.stops], ['enrolment', 'renewal']);
  t.equal(policy.inactiveAfterMs, 7 * 86_400_000);
  t.same(await documentsOf({ expiredMetadataGraceDays: 2 }), [
    { kind: 'policy', id: 'policy', body: { expired_metadata_grace_ms: 2 * 86_400_000 } },
  ]);
});

t.test('says who wins conflicts: what the site has been told itself counts first', async (t) => {
  const { setRules, documentsOf } = await open(t);
  const ofAll: ConflictRule = { path: 'desired', winner: 'cloud' };
  const ofSite: ConflictRule = { path: 'desired.mode', shadow: '-', winner: 'site' };
  await setRules('-', [ofAll]);
  await setRules('a', [ofSite]);
  t.same(await documentsOf({}), [
    { kind: 'policy', id: 'policy', body: { shadow_conflicts: [ofSite, ofAll] } },
  ]);
  t.same(await documentsOf({}, 'b'), [
    { kind: 'policy', id: 'policy', body: { shadow_conflicts: [ofAll] } },
  ]);
  const [document] = await documentsOf({ staleRevocationsDays: 3 }, 'b');
  t.match(document?.body, {
    shadow_conflicts: [ofAll],
    stale_revocations: { after_ms: 3 * 86_400_000 },
  });
});
