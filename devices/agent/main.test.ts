import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChild, startChild } from '@holdfast/provisioning/program/children';
import { configurationReference } from '@holdfast/provisioning/program/reference';
import t, { type Test } from 'tap';
import { driveLine } from '../serial/driven-line.js';
import { jsonLines } from '../serial/json-lines/json-lines.js';
import { deviceConfiguration } from './configuration.js';
import { TestGateway } from './test-gateway.js';
import { inspectArchive } from './update/archive.js';
import { makeDirectory } from './update/update-fixture.js';

const bin = fileURLToPath(new URL('../../bin/holdfast-device.js', import.meta.url));
const page = fileURLToPath(new URL('../../CONFIGURATION.md', import.meta.url));

const folder = async (t: Test): Promise<string> => {
  const { path, remove } = await makeDirectory();
  t.teardown(remove);
  return path;
};

t.test('the configuration page says what the schema says', async (t) => {
  const reference = configurationReference(deviceConfiguration, 'holdfast-device');
  t.equal(await readFile(page, 'utf8'), reference);
});

t.test('enrols, serves, and ends when it is asked to', async (t) => {
  const data = await folder(t);
  const gateway = await TestGateway.open();
  t.teardown(() => gateway.close());
  const enrolled = await runChild({
    bin,
    args: ['enroll', gateway.code, '--id', 'dev-1', '--data', data],
  });
  t.equal(enrolled.code, 0, enrolled.stderr);
  t.match(JSON.parse(enrolled.stdout), { enrolled: true, device: 'dev-1', site: 'site-a' });
  const child = await startChild({ bin, args: ['--data', data] });
  await gateway.connected(1);
  t.match(await child.stop(), { code: 0 });
});

t.test('says what to do when it was not enrolled, and what it does not know', async (t) => {
  const data = await folder(t);
  const alone = await runChild({ bin, args: ['run', '--data', data] });
  t.equal(alone.code, 1);
  t.match(alone.stderr, /holdfast-device enroll CODE/);
  t.match(await runChild({ bin, args: ['dance', '--data', data] }), { code: 78 });
  t.match(await runChild({ bin, args: ['pack', data] }), { code: 78, stderr: /--out/ });
});

t.test('packs an application', async (t) => {
  const data = await folder(t);
  const app = join(data, 'app');
  await mkdir(app);
  const manifest = { name: 'x', version: '3.1.0', command: ['true'] };
  const health = { type: 'http', port: 8080, path: '/health' };
  await writeFile(join(app, 'holdfast-app.json'), JSON.stringify({ ...manifest, health }));
  const out = join(data, 'app.tar');
  const packed = await runChild({ bin, args: ['pack', app, '--out', out] });
  t.equal(packed.code, 0, packed.stderr);
  t.match(await inspectArchive(out, AbortSignal.timeout(5_000)), { version: '3.1.0' });
});

t.test('simulates devices that are there until it ends', async (t) => {
  const data = await folder(t);
  const gateway = await TestGateway.open();
  t.teardown(() => gateway.close());
  const codes = join(data, 'codes');
  await writeFile(codes, `${gateway.code}\n${gateway.code}\n`);
  const args = ['simulate', '--data', data, '--codes', codes, '--simulate.count', '2'];
  const child = await startChild({ bin, args });
  await gateway.connected(2);
  t.match(await child.stop(), { code: 0 });
});

t.test('is a serial device at the end of a line of its own making', async (t) => {
  const link = join(await folder(t), 'tty');
  const child = await startChild({
    bin,
    args: ['serial-simulator', '--id', 'pump-1', '--pty', link, '--serial.interval-ms', '20'],
  });
  t.teardown(() => child.stop());
  await new Promise<void>((resolve) => {
    const handlers = {
      online: async () => undefined,
      welcomed: () => undefined,
      offline: async () => undefined,
      telemetry: async () => resolve(),
      reported: async () => undefined,
      response: async () => undefined,
      jobStatus: async () => undefined,
      image: async () => Buffer.alloc(0),
      failed: () => undefined,
      desired: async () => ({ state: {}, version: 0 }),
      time: () => ({ ts: 0, trusted: false }),
    };
    const driven = driveLine(
      { driver: jsonLines, devices: [{ id: 'pump-1', handlers, settings: undefined }] },
      { name: 'pump-1', address: { path: link }, retryDelayMs: () => 20 },
    );
    t.teardown(() => driven.close());
    driven.open();
  });
  t.match(await child.stop(), { code: 0 });
});
