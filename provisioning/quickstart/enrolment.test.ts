/**
 * New devices at a site whose WAN is cut, across processes: with codes of the plan and with their manufacturer's certificate; what the
 * control plane makes of them when it learns; a list of devices in, codes out.
 */
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import * as v from 'valibot';
import { parseClaimCode } from '../pki/claim-code.js';
import { privatePem } from '../pki/keys.js';
import { createTestManufacturer, type ManufacturedCredentials } from '../pki/test-manufacturer.js';
import { runChild } from '../program/children.js';
import { waitUntil } from '../program/wait-until.js';
import { Fleet, site } from './fleet.js';
import { bins } from './programs.js';

t.setTimeout(300_000);

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const codes = v.object({ codes: v.array(v.object({ code: v.string() })) });
const claim = v.object({ code: v.string() });
const revision = v.union([v.string(), v.number()]);
const devices = v.array(
  v.object({
    device: v.string(),
    confirm_time: v.optional(v.string()),
    enrollment_problem: v.optional(v.string()),
    labels: v.optional(v.record(v.string(), v.string())),
  }),
);

t.test('devices enrol while the WAN is cut, and the control plane judges them after', async (t) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'holdfast-enrolment-'));
  const fleet = await Fleet.open({
    dataDirectory,
    agents: 0,
    simulated: 0,
    hasSerial: false,
    log,
    args: { gateway: ['--link.first-retry-ms=50', '--link.most-retry-ms=500'] },
  });
  t.teardown(async () => {
    await fleet.close();
    await rm(dataDirectory, { recursive: true });
  });
  const path = (name: string) => join(dataDirectory, name);
  const { holdfast } = { holdfast: fleet.holdfast.bind(fleet) };
  const enroll = (folder: string, ...args: string[]) =>
    runChild({ bin: bins.device, args: ['enroll', ...args, '--data', path(folder)] });
  const gateway = `--gateway=127.0.0.1:${fleet.port('devices')}`;
  const hasPlan = async () => {
    const cloud = v.parse(
      v.object({ plan: v.object({ revision, appliedRevision: revision }) }),
      await holdfast('site', 'get', site),
    );
    return String(cloud.plan.revision) === String(cloud.plan.appliedRevision);
  };

  t.comment('before: codes, a manufacturer, a list');
  const acme = await createTestManufacturer();
  await writeFile(path('acme.pem'), acme.pem);
  const addAcme = ['manufacturer', 'add', 'acme', '--certificates', path('acme.pem')];
  await holdfast(...addAcme, '--prefix', 'acme-', '--model', 'pump', 'valve');
  const [any, lost] = v.parse(
    codes,
    await holdfast('device', 'claim', '--count', '2', '--model', 'pump'),
  ).codes;
  const list = 'id,model,hall\nlisted-1,pump,3\nno id,pump,\nlisted-2,pump,\n';
  await writeFile(path('devices.csv'), list);
  const importing = ['device', 'import', path('devices.csv')];
  const imported = await runChild({
    bin: bins.holdfast,
    args: [
      ...['--json', '--data', fleet.folder('cli'), ...importing],
      ...['--out', path('codes.csv'), '--labels', path('labels.pdf')],
    ],
  });
  t.equal(imported.code, 1, 'a line was bad');
  t.match(JSON.parse(imported.stdout), [
    { line: 2, device: 'listed-1', outcome: 'code' },
    { line: 3, device: 'no id', outcome: 'failed', next: /letters/ },
    { line: 4, device: 'listed-2', outcome: 'code' },
  ]);
  t.equal((await stat(path('codes.csv'))).mode & 0o777, 0o600);
  t.match(await readFile(path('labels.pdf'), 'latin1'), /^%PDF-1\.4\n/);
  const report = await readFile(path('codes.csv'), 'utf8');
  const listedCode = /^2,.*,(hfd1-[^,]+),/m.exec(report)?.[1] ?? '';
  await waitUntil('the site has the plan', hasPlan);

  t.comment('the WAN is cut');
  fleet.wan.set('cut');
  const root = parseClaimCode(any?.code ?? '').rootSha256;
  const manufactured = async (folder: string, made: ManufacturedCredentials, model: string) => {
    await writeFile(path(`${folder}.pem`), made.tls.cert);
    await writeFile(path(`${folder}.key`), privatePem(made.key), { mode: 0o600 });
    const files = [`--certificate=${path(`${folder}.pem`)}`, `--key=${path(`${folder}.key`)}`];
    return enroll(folder, ...files, `--root=${root}`, gateway, `--device.model=${model}`);
  };
  const made = await acme.device({ organization: 'Acme', commonName: 'x', serialNumber: '7' });
  const first = await manufactured('acme-7', made, 'pump');
  t.match(first, { code: 0, stdout: /"device":"acme-7"/ }, 'its id is the prefix and its number');
  const again = await manufactured('acme-7-again', made, 'pump');
  t.match(again, { code: 1, stderr: /there is a device acme-7 already/ });
  const wrong: [string, ManufacturedCredentials, string, RegExp][] = [
    ['model', await acme.device({ commonName: 'acme-8' }), 'crane', /pump, valve.*not crane/],
    [
      'expired',
      await acme.device({ commonName: 'acme-9' }, { notAfter: Date.now() - 1_000 }),
      'pump',
      /it has expired/,
    ],
    [
      'stranger',
      await (await createTestManufacturer()).device({ commonName: 'acme-10' }),
      'pump',
      /does not lead to an authority/,
    ],
    ['name', await acme.device({ commonName: 'no id' }), 'pump', /'acme-no id' is no device id/],
  ];
  for (const [folder, device, model, stderr] of wrong) {
    t.match(await manufactured(folder, device, model), { code: 1, stderr }, folder);
  }
  const byCode = (folder: string, code: string | undefined, id: string, model = 'pump') =>
    enroll(folder, code ?? '', `--id=${id}`, gateway, `--device.model=${model}`);
  t.match(await byCode('m', any?.code, 'any-1', 'crane'), { code: 1, stderr: /model pump alone/ });
  t.match(await byCode('any', any?.code, 'any-1'), { code: 0, stdout: /any-1/ });
  t.match(await byCode('late', lost?.code, 'late-1'), { code: 0 });
  t.match(await byCode('listed', listedCode, 'other'), { code: 1, stderr: /listed-1 alone/ });
  t.match(await enroll('listed', listedCode, gateway, '--device.model=pump'), { code: 0 });
  const onSite = v.parse(claim, await holdfast('--gateway', 'device', 'claim', 'on-site'));
  t.match(await enroll('on-site', onSite.code, '--device.model=pump'), { code: 0 });
  t.same(
    v.parse(devices, await holdfast('--gateway', 'device', 'list')).map(({ device }) => device),
    ['acme-7', 'any-1', 'late-1', 'listed-1', 'on-site'],
  );

  await writeFile(path('on-site.csv'), 'id;model;hall\nacme-7;pump;1\nnew-1;pump;2\n');
  const importOnSite = () => holdfast('--gateway', 'device', 'import', path('on-site.csv'));
  t.match(await importOnSite(), [{ outcome: 'enrolled' }, { outcome: 'code', code: /^hfd1-/ }]);
  t.match(await importOnSite(), [{ outcome: 'enrolled' }, { outcome: 'open' }]);

  t.comment('meanwhile one code is deleted in the cloud; the WAN comes back');
  const open = v.parse(
    v.array(v.object({ claim: v.string(), device: v.optional(v.string()), model: v.string() })),
    await holdfast('device', 'claims'),
  );
  t.equal(open.length, 4, 'the cloud does not know yet that any was used');
  for (const { claim: id, device } of open) {
    if (device === undefined) await holdfast('device', 'unclaim', id);
  }
  fleet.wan.set('up');
  const inCloud = async () => v.parse(devices, await holdfast('device', 'list', '--site', site));
  await waitUntil('the cloud knows them', async () => (await inCloud()).length === 5);
  const known = new Map((await inCloud()).map((device) => [device.device, device]));
  for (const id of ['acme-7', 'listed-1', 'on-site']) {
    t.match(known.get(id), { confirm_time: /^\d{4}-/ }, id);
    t.equal(known.get(id)?.enrollment_problem, undefined);
  }
  t.same(known.get('listed-1')?.labels, { hall: '3' }, 'its labels waited for it');
  for (const id of ['any-1', 'late-1']) {
    t.match(known.get(id)?.enrollment_problem, /its code had been deleted/);
  }
  /** What the door for devices says to the certificate that this device got. */
  const atTheDoor = async (folder: string): Promise<number | undefined> => {
    const identity = v.parse(
      v.object({ certificate: v.string(), root: v.string() }),
      JSON.parse(await readFile(join(path(folder), 'identity.json'), 'utf8')),
    );
    const request = get({
      ...{ host: '127.0.0.1', port: fleet.port('devices'), agent: false },
      path: `/firmware/sha256/${'0'.repeat(64)}`,
      ca: identity.root,
      cert: identity.certificate,
      key: await readFile(join(path(folder), 'device.key'), 'utf8'),
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  await waitUntil('the site refuses whom the control plane refused', async () => {
    const answers = await Promise.all(['any', 'late'].map(atTheDoor));
    return answers.every((status) => status === 401);
  });
  for (const folder of ['acme-7', 'listed', 'on-site']) {
    t.equal(await atTheDoor(folder), 404, `${folder} is let in, and there is no such firmware`);
  }
});
