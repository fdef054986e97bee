import assert from 'node:assert';
import { createRequire } from 'node:module';
import t, { type Test } from 'tap';
import { openSiteStore } from './broker-fixture.js';
import { defaultLimits } from './broker-limits.js';
import { loadBrokerRows } from './load-broker-rows.js';
import { RetainedStore } from './retained-store.js';
import { SessionRegistry } from './session-registry.js';
import { SitePersistence } from './site-persistence.js';

/** What the suite of aedes-persistence, written for node:test, uses of a test. */
interface SuiteTest {
  plan(count: number): void;
  diagnostic(message: string): void;
  readonly assert: Pick<typeof assert, 'ok' | 'equal' | 'notEqual' | 'deepEqual'>;
}
type Suite = (options: {
  test: (name: string, run: (t: SuiteTest) => Promise<void>) => void;
  persistence: () => Promise<SitePersistence>;
  testAsync: true;
}) => void;

const require = createRequire(import.meta.url);
const suite = require('aedes-persistence/abstract') as Suite;

async function openPersistence(t: Test, folder?: string): Promise<SitePersistence> {
  const store = await openSiteStore(t, folder);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const sessions = new SessionRegistry(
    { store, log, now: () => 1_000, elapsed: () => 0, onDropped: () => undefined },
    defaultLimits,
  );
  const retained = new RetainedStore(() => defaultLimits.otherRetained);
  const rows = await loadBrokerRows(store);
  sessions.restore(rows);
  for (const row of rows.retained) retained.restore(row);
  const persistence = new SitePersistence({ store, sessions, retained });
  persistence.restoreWills(rows.wills);
  return persistence;
}

t.test('passes the suite that ships with aedes-persistence', async (t) => {
  suite({
    testAsync: true,
    persistence: () => openPersistence(t),
    test: (name, run) =>
      t.test(name, async (t) => {
        const counted =
          <A extends unknown[]>(check: (...args: A) => void) =>
          (...args: A): void => {
            check(...args);
            t.pass(name);
          };
        await run({
          plan: (count) => t.plan(count),
          diagnostic: (message) => t.comment(message),
          assert: {
            ok: (value) => counted(() => assert.ok(value))(),
            equal: counted((a, b) => assert.equal(a, b)),
            notEqual: counted((a, b) => assert.notEqual(a, b)),
            // biome-ignore lint/suspicious/noExplicitAny: loose equality of plain and library objects, as node:test has it
            deepEqual: counted((a: any, b: any) => assert.deepEqual(a, b)),
          } as SuiteTest['assert'],
        });
      }),
  });
});
