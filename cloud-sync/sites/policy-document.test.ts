import { sitePolicy } from '@holdfast/protos/link/site-policy';
import t from 'tap';
import * as v from 'valibot';
import { cloudConfiguration } from '../configuration.js';
import { policyDocument } from './policy-document.js';

const documentsOf = (policy: object) =>
  // It reads no database.
  policyDocument(v.parse(cloudConfiguration, { policy }).policy)(undefined as never, 'a');

t.test('says what sites do not assume anyway', async (t) => {
  t.same(await documentsOf({}), []);
  const [document] = await documentsOf({ staleStopsRenewal: true, staleRevocationsDays: 3 });
  if (document?.kind !== 'policy') throw new Error('no policy');
  const policy = sitePolicy(document.body);
  t.equal(policy.staleRevocations.afterMs, 3 * 86_400_000);
  t.same([...policy.staleRevocations.stops], ['enrolment', 'renewal']);
  t.equal(policy.inactiveAfterMs, 7 * 86_400_000);
});
