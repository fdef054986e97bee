import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { hashPassword } from '@holdfast/provisioning/pki/password-hash';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import t, { type Test } from 'tap';
import { type ApplyOptions, applySiteFile } from './apply.js';
import { planSiteFile } from './plan.js';
import { appliedIn, enrolledFolder, quietYaml, silent, startGateway } from './test-site-gateway.js';

t.setTimeout(120_000);

const apply = (dataDir: string, text: string, more: Partial<ApplyOptions> = {}) =>
  applySiteFile(
    { log: silent },
    { file: { name: 'site.yaml', text }, dataDir, by: 'anna', isDryRun: false, ...more },
  );

const plan = (dataDir: string, text: string) =>
  planSiteFile(
    { log: silent, examine: async () => [] },
    { file: { name: 'site.yaml', text }, dataDir },
  );

/** A port that somebody else has. */
const takenPort = async (t: Test): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
};

const configurationEntries = async (dataDir: string): Promise<Record<string, unknown>[]> => {
  const database = await openDatabase({ path: join(dataDir, 'site.db'), readOnly: true });
  const rows = await database.all<{ body: string }>(
    `select body from journal_audit where kind = 'site_configuration' order by seq`,
  );
  await database.close();
  return rows.map(({ body }) => JSON.parse(body));
};

/** The verdict comes after the ready line. */
const settled = (dataDir: string, revision: number) =>
  waitUntil(`the verdict on revision ${revision}`, async () => {
    const { outcome } = await appliedIn(dataDir);
    return outcome?.revision === revision && outcome.journalled;
  });

t.test('a running gateway takes a new configuration, and the journal has it', async (t) => {
  const folder = await enrolledFolder(t);
  await apply(folder, quietYaml());
  const gateway = await startGateway(t, folder);
  await settled(folder, 1);

  const more = quietYaml('telemetry:\n  budgetBytes: 2000000\n');
  const planned = await plan(folder, more);
  t.same(planned.changes, [
    { setting: 'telemetry.budgetBytes', from: 1_073_741_824, to: 2_000_000 },
  ]);
  t.match(await apply(folder, more, { isDryRun: true }), { result: 'would_change', revision: 1 });
  t.match(await apply(folder, more), { result: 'confirmed', revision: 2 });
  t.match(await apply(folder, more), { result: 'unchanged', revision: 2 });
  const after = await plan(folder, more);
  t.same([after.changes, after.drift], [[], []]);
  const running = JSON.parse(await readFile(join(folder, 'running.json'), 'utf8'));
  t.match(running, {
    pid: gateway.pid,
    revision: 2,
    configuration: { telemetry: { budgetBytes: 2_000_000 } },
  });

  await settled(folder, 2);
  t.match(await gateway.stop(), { code: 0 });
  t.match(await configurationEntries(folder), [
    { revision: 1, result: 'confirmed', by: 'anna' },
    { revision: 2, result: 'confirmed', by: 'anna' },
  ]);
});

t.test('a driver of the site is asked for before anything is applied', async (t) => {
  const folder = await enrolledFolder(t);
  const own = quietYaml(
    'serial: {lines: [{device: scale-1, path: /dev/ttyTest, driver: ./drivers/scale.js}]}\n',
  );
  const wanted = {
    code: 'CONFIGURATION_INVALID',
    message: `the driver ./drivers/scale.js is not there: put it at ${join(folder, 'drivers/scale.js')}`,
  };
  await t.rejects(plan(folder, own), wanted);
  await t.rejects(apply(folder, own), wanted);
  await mkdir(join(folder, 'drivers'));
  await writeFile(join(folder, 'drivers/scale.js'), '');
  t.match(await plan(folder, own), { revision: null });
  t.match(await apply(folder, own), { result: 'waits', revision: 1 });
});

t.test('one that does not come up is rolled back at once, in the same process', async (t) => {
  const folder = await enrolledFolder(t);
  await apply(folder, quietYaml());
  const gateway = await startGateway(t, folder);
  await settled(folder, 1);
  const port = await takenPort(t);
  const error = await apply(
    folder,
    quietYaml().replace('httpsPort: 0', `httpsPort: ${port}`),
  ).catch((e) => e);
  t.match(error, {
    code: 'CONFIGURATION_ROLLED_BACK',
    message: new RegExp(`revision 2 was rolled back: .*listen\\.httpsPort.*${port}`),
    data: { next: /holdfast site apply/ },
  });
  const running = JSON.parse(await readFile(join(folder, 'running.json'), 'utf8'));
  t.match(running, { pid: gateway.pid, revision: 1 });
  await settled(folder, 2);
  t.match(await gateway.stop(), { code: 0 });
  t.match(await configurationEntries(folder), [
    { revision: 1, result: 'confirmed' },
    { revision: 2, result: 'rolled_back', reason: /httpsPort/ },
  ]);
});

t.test(
  'without a running gateway the next start decides, also after one that was killed',
  async (t) => {
    const folder = await enrolledFolder(t);
    t.match(await apply(folder, quietYaml()), { result: 'waits', revision: 1 });
    const first = await startGateway(t, folder);
    await settled(folder, 1);
    await first.stop();
    const port = await takenPort(t);
    t.match(
      await apply(
        folder,
        quietYaml(
          `services: {port: ${port}, users: [{user: a, passwordHash: ${JSON.stringify(await hashPassword('a password'))}}]}`,
        ),
      ),
      {
        result: 'waits',
        revision: 2,
      },
    );
    const second = await startGateway(t, folder);
    await settled(folder, 2);
    const applied = await appliedIn(folder);
    t.match(applied.outcome, { revision: 2, result: 'rolled_back', reason: /services\.port/ });
    t.equal(applied.current?.revision, 1);

    await second.stop();
    await apply(folder, quietYaml('firmware: {quotaBytes: 2000000}'));
    // What a power cut leaves after the gateway has begun its trial.
    await (await appliedIn(folder)).attempt();
    await startGateway(t, folder);
    await settled(folder, 3);
    t.match(await appliedIn(folder), {
      current: { revision: 1 },
      outcome: { result: 'rolled_back' },
    });
  },
);

t.test(
  'says what drifted, and why; nothing is applied to a gateway with a file of its own',
  async (t) => {
    const folder = await enrolledFolder(t);
    await apply(folder, quietYaml());
    await writeFile(join(folder, 'own.yaml'), quietYaml('firmware: {quotaBytes: 5000000}'));
    const own = ['--config', join(folder, 'own.yaml'), '--telemetry.budget-bytes', '3000000'];
    await startGateway(t, folder, own);
    const { drift } = await plan(folder, quietYaml());
    t.same(drift, [
      {
        setting: 'telemetry.budgetBytes',
        running: 3_000_000,
        applied: 1_073_741_824,
        because: '--telemetry.budget-bytes',
      },
      {
        setting: 'firmware.quotaBytes',
        running: 5_000_000,
        applied: 4_294_967_296,
        because: `--config ${join(folder, 'own.yaml')}`,
      },
    ]);
    await t.rejects(apply(folder, quietYaml()), {
      code: 'RESOURCE_STATE_WRONG',
      data: { next: /without --config/ },
    });
  },
);

t.test('says what the file says and the gateway does not heed', async (t) => {
  const folder = await enrolledFolder(t);
  await apply(folder, quietYaml());
  await startGateway(t, folder, ['--telemetry.budget-bytes', '3000000']);
  await settled(folder, 1);
  const file = quietYaml('telemetry: {budgetBytes: 2000000}\nfirmware: {quotaBytes: 2000000}\n');
  const overridden = [
    {
      setting: 'telemetry.budgetBytes',
      wanted: 2_000_000,
      running: 3_000_000,
      because: '--telemetry.budget-bytes',
    },
  ];
  t.match(await apply(folder, file, { isDryRun: true }), { result: 'would_change', overridden });
  const applied = await apply(folder, file);
  t.match(applied, { result: 'confirmed', revision: 2 });
  t.same(applied.overridden, overridden);
  t.same((await apply(folder, file)).overridden, overridden, 'and again when nothing changes');
});

t.test('what is wrong in the file is told, and nothing is applied', async (t) => {
  const folder = t.testdir();
  await t.rejects(apply(folder, 'listen:\n  mqtts-port: 1\n'), {
    code: 'CONFIGURATION_INVALID',
    message: 'site.yaml:2: there is no setting "listen.mqtts-port": do you mean "mqttsPort"?',
  });
  t.equal((await appliedIn(folder)).current, null);
});
