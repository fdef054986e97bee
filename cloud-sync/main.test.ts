import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JournalBatch } from '@holdfast/protos/gen/holdfast/v1/link';
import { type Child, runChild, startChild } from '@holdfast/provisioning/program/children';
import t from 'tap';
import { openEmbeddedEngine } from './store/embedded-engine.js';
import { openApi } from './testing/cloud-under-test.js';
import { enrolStandIn, StandInLink, StandInLog } from './testing/gateway-stand-in.js';

// Whole programs, started again and again, on machines that do other things too.
t.setTimeout(120_000);

const bin = fileURLToPath(new URL('../bin/holdfast-cloud.js', import.meta.url));
const ports = ['--listen.grpc-port', '0', '--listen.link-port', '0', '--listen.https-port', '0'];

const folderOf = async (t: { teardown(end: () => unknown): unknown }) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-main-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return { dataDir: join(folder, 'data'), loginFile: join(folder, 'login') };
};
const start = (dataDir: string, ...args: string[]): Promise<Child> =>
  startChild({ bin, args: ['--data', dataDir, ...ports, ...args] });

t.test('makes the fleet at its first start, and finds it again', async (t) => {
  const { dataDir, loginFile } = await folderOf(t);
  const first = await start(dataDir, '--login-file', loginFile);
  t.teardown(() => first.kill());
  t.same(Object.keys(first.ports), ['grpc', 'link', 'https']);
  for (const path of [loginFile, join(dataDir, 'authority', 'root.key')]) {
    t.equal((await stat(path)).mode & 0o777, 0o600);
  }
  const login = await readFile(loginFile, 'utf8');
  const api = await openApi(login);
  await api.call(api.sites, api.sites.createSite, { siteId: 'a', site: undefined });
  api.close();
  t.same(await first.stop(), { code: 0, signal: null });

  await rm(loginFile);
  const second = await start(dataDir, '--login-file', loginFile);
  t.teardown(() => second.kill());
  await t.rejects(stat(loginFile), { code: 'ENOENT' }, 'it is shown once');
  const again = await openApi(login, second.ports.grpc);
  t.equal(again.rootPem, api.rootPem);
  const site = await again.call(again.sites, again.sites.getSite, { name: 'sites/a' });
  t.equal(site.displayName, 'a');
  again.close();
  await second.stop();

  const third = await start(dataDir, '--login-file', loginFile, '--new-login');
  t.teardown(() => third.kill());
  t.not(await readFile(loginFile, 'utf8'), login);
  const stranger = await openApi(login, third.ports.grpc);
  await t.rejects(
    stranger.call(stranger.sites, stranger.sites.getSite, { name: 'sites/a' }),
    { code: 'NOT_AUTHENTICATED' },
    'the one before is void',
  );
  stranger.close();
  await third.stop();
});

t.test('says what is wrong with its configuration, and ends with 78', async (t) => {
  const { dataDir } = await folderOf(t);
  const wrong = await runChild({ bin, args: ['--data', dataDir, '--link.keepalive-ms', 'soon'] });
  t.equal(wrong.code, 78);
  t.match(wrong.stderr, /keepalive/);
});

/** How often the control plane is killed; each time at another number of batches under way. */
const kills = 6;
const pointsPerBatch = 20;

t.test('loses and doubles nothing of the journal when it is killed', async (t) => {
  const { dataDir, loginFile } = await folderOf(t);
  let cloud = await start(dataDir, '--login-file', loginFile);
  t.teardown(() => cloud.kill());
  const api = await openApi(await readFile(loginFile, 'utf8'));
  const gateway = await enrolStandIn(api, 'a');
  api.close();
  const log = new StandInLog('telemetry');
  const batches: JournalBatch[] = [];
  let acknowledged = 0n;
  let points = 0;
  for (let kill = 0; kill <= kills; kill += 1) {
    const link = new StandInLink(gateway, `127.0.0.1:${cloud.ports.link}`);
    link.hello({ bootId: String(kill), journal: [log.position] });
    const [stands] = (await link.next('welcome')).journal;
    t.ok((stands?.seq ?? -1n) >= acknowledged, 'what was acknowledged is there');
    const owed = batches.filter(({ firstSeq }) => firstSeq > (stands?.seq ?? 0n));
    for (let more = 0; more < 30; more += 1) {
      const first = points;
      points += pointsPerBatch;
      const batch = await log.batch(
        Array.from({ length: pointsPerBatch }, (_, index) => ({
          kind: 'point',
          body: { device: 'd', series: 's', ts: 1, value: 1, boot: 'b', seq: first + index },
        })),
      );
      batches.push(batch);
      owed.push(batch);
    }
    for (const batch of owed) link.say({ $case: 'journal', value: batch });
    const last =
      kill === kills
        ? log.position.seq
        : (stands?.seq ?? 0n) + BigInt(kill * 2 * pointsPerBatch + 1);
    while (acknowledged < last) {
      acknowledged = (await link.next('journalCommitted')).position?.seq ?? 0n;
    }
    if (kill === kills) await cloud.stop();
    else await cloud.kill();
    link.close();
    if (kill < kills) cloud = await start(dataDir);
  }
  const engine = await openEmbeddedEngine({
    path: join(dataDir, 'cloud.db'),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  t.teardown(() => engine.close());
  const rows = await engine.read.selectFrom('telemetry').select('seq').orderBy('seq').execute();
  t.same(
    rows.map(({ seq }) => seq),
    Array.from({ length: points }, (_, seq) => seq),
  );
  const taken = await engine.read.selectFrom('telemetry_positions').selectAll().execute();
  // Counts what came to be applied, also what would then have been found to be there already.
  t.match(taken, [{ last_position: points }]);
});
