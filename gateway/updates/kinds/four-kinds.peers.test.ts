/**
 * One campaign for a Pi, a device on AWS IoT's SDK, a device with SWUpdate and a microcontroller, none of them modified: one image each,
 * and one of them missing at a time, while the WAN is cut. Control plane, gateway and agent are their programs.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { Fleet } from '@holdfast/provisioning/quickstart/fleet';
import { writeSampleFirmware } from '@holdfast/provisioning/quickstart/sample-firmware';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import t from 'tap';
import * as v from 'valibot';
import { missingSdks } from '../../doors/aws/test-sdk-device.js';
import { openAvrKind } from './avr-kind.js';
import { openAwsKind } from './aws-kind.js';
import type { KindOfDevice } from './kind.js';
import { type ExecutionEntry, missingTogether } from './missing-at-once.js';
import { openSwupdateKind } from './swupdate-kind.js';

t.setTimeout(240_000);

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** What SWUpdate is told how often to ask. */
const polling = ['--ddi.poll-s=1', '--ddi.waiting-poll-s=1'];
const codeAnswer = v.object({ code: v.string() });
const tokenAnswer = v.looseObject({
  ...{ device: v.string(), token: v.string(), url: v.string() },
  ...{ tenant: v.string(), root: v.string() },
});

t.test('two that are missing together are found', async (t) => {
  const entry = (device: string, status: string, door = 'native'): ExecutionEntry => ({
    ...{ campaign: 'c', device, status, door },
  });
  t.same(
    missingTogether([
      ...[entry('a', 'queued'), entry('a', 'downloading'), entry('b', 'offered', 'ddi')],
      ...[entry('a', 'installing'), entry('b', 'succeeded', 'ddi'), entry('a', 'succeeded')],
    ]),
    [['b'], ['b', 'a']],
  );
});

t.test('one campaign updates four kinds of devices', { skip: missingSdks() }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kinds-'));
  const avr = await openAvrKind(t, 'avr', join(folder, 'avr'));
  const fleet = await Fleet.open({
    ...{ dataDirectory: join(folder, 'fleet'), agents: 1, simulated: 0, hasSerial: false },
    ...{ log: silent, env: { gateway: avr.environment } },
    args: {
      'agent-1': ['--update.ask-again-s=1'],
      gateway: [
        `--serial.lines=${JSON.stringify([avr.line])}`,
        '--link.first-retry-ms=50',
        '--link.most-retry-ms=500',
        ...polling,
      ],
    },
  });
  const site = await openDatabase({
    ...{ path: join(fleet.folder('gateway'), 'site.db'), readOnly: true },
  });
  t.teardown(async () => {
    await site.close();
    await fleet.close();
    await rm(folder, { recursive: true, force: true });
  });
  const journal = async (): Promise<ExecutionEntry[]> => {
    const rows = await site.all<{ body: string }>(
      "SELECT body FROM journal_state WHERE kind = 'execution' ORDER BY seq",
    );
    return rows.map(({ body }) => JSON.parse(body) as ExecutionEntry);
  };
  const statusOf = async (device: string): Promise<string> =>
    (await journal()).findLast((entry) => entry.device === device)?.status ?? 'none';
  const until =
    (device: string) =>
    async (...wanted: readonly string[]): Promise<string> => {
      let status = '';
      const isReached = async () => {
        status = await statusOf(device);
        return wanted.includes(status);
      };
      await waitUntil(`${device} is ${wanted.join(' or ')}`, isReached, { everyMs: 50 });
      return status;
    };

  t.comment('four devices, each of its own model');
  const path = (name: string) => join(folder, name);
  const pi = path('pi.tar');
  await writeSampleFirmware(pi, { version: '2.0.0', behaviour: 'works' });
  const awsImage = path('aws.bin');
  await writeFile(awsImage, randomBytes(200_000));
  const { code } = v.parse(codeAnswer, await fleet.holdfast('--gateway', 'device', 'claim', 'aws'));
  const aws = await openAwsKind(t, {
    ...{ device: 'aws', model: 'aws', image: awsImage, versions: ['1.0.0', '2.0.0'] },
    ...{ code, folder: path('aws') },
    ports: { mqtts: fleet.port('mqtts'), https: fleet.port('devices') },
  });
  await mkdir(path('swu'));
  const made = await fleet.holdfast('--gateway', 'device', 'token', 'swu', '--model', 'swu');
  const { root, ...access } = v.parse(tokenAnswer, made);
  const swu = await openSwupdateKind(t, {
    ...{ device: 'swu', model: 'swu', version: '2.0.0', file: randomBytes(300_000) },
    ...{ folder: path('swu'), access, root, until: until('swu') },
  });
  const agent: KindOfDevice = {
    ...{ device: 'agent-1', model: 'demo', image: pi },
    start: async () => undefined,
    update: async () => undefined,
    story: () => '',
  };
  const kinds = [agent, aws, swu, avr];
  t.teardown(async () => {
    if (t.passing()) return;
    for (const { device, story } of kinds) process.stderr.write(`${device}: ${story()}\n`);
    process.stderr.write(`${(await journal()).map((entry) => JSON.stringify(entry)).join('\n')}\n`);
  });
  await Promise.all(kinds.map((kind) => kind.start()));

  t.comment('one campaign for all of them');
  await fleet.makeSigningKeys();
  const passphrase = ['--passphrase-file', fleet.passphraseFile];
  const delegate = ['delegate', 'others', '--paths', '*/*/*'];
  await fleet.holdfast('firmware', 'keys', ...delegate, ...passphrase);
  for (const { image, model, signArgs = [] } of kinds) {
    const of = ['--model', model, '--version', '2.0.0', ...signArgs];
    await fleet.holdfast('firmware', 'sign', image, ...of, ...passphrase);
    await fleet.holdfast('firmware', 'upload', image);
  }
  await waitUntil('all are online', async () => {
    const online = await site.all<{ body: string }>(
      "SELECT body FROM journal_state WHERE kind = 'device' ORDER BY seq",
    );
    const last = new Map(
      online.map(({ body }) => JSON.parse(body)).map(({ device, online }) => [device, online]),
    );
    return kinds.every(({ device }) => last.get(device) === true);
  });
  const firmware = kinds.map(({ model }) => `${model}@2.0.0`);
  const updated = Promise.all(kinds.map((kind) => kind.update()));
  updated.catch(() => undefined);
  await fleet.holdfast(
    ...['campaign', 'create', 'spring', '--firmware', ...firmware],
    ...['--budget', 'max=1', '--start'],
  );
  const digests = await Promise.all(
    kinds.map(({ image }) => digestOf(image, AbortSignal.timeout(10_000))),
  );
  const areHere = async (): Promise<boolean> => {
    const names = await readdir(fleet.folder('gateway/firmware'));
    return digests.every((digest) => names.includes(digest));
  };
  await waitUntil(
    'the images are at the site and the first device has begun',
    async () => (await areHere()) && missingTogether(await journal()).length > 0,
    { everyMs: 20 },
  );

  t.comment('the WAN is cut in the middle of it');
  const before = await journal();
  t.ok(
    kinds.some(({ device }) => !before.some((entry) => entry.device === device && isOver(entry))),
    'not all are through',
  );
  fleet.wan.set('cut');
  await updated;
  const ends = await Promise.all(
    kinds.map(({ device }) => until(device)('succeeded', 'failed', 'unproven', 'rolled_back')),
  );
  const outcomes = Object.fromEntries(kinds.map(({ device }, i) => [device, ends[i]]));
  const wanted = Object.fromEntries(kinds.map(({ device }) => [device, 'succeeded']));
  t.same(outcomes, wanted, 'each is proven');
  const groups = missingTogether(await journal());
  t.same(
    groups.filter((group) => group.length > 1),
    [],
    'never two at once',
  );
  t.same([...new Set(groups.flat())].sort(), kinds.map(({ device }) => device).sort(), 'each once');

  t.comment('the WAN returns');
  fleet.wan.set('up');
  await waitUntil('the control plane knows', async () => {
    const campaigns = v.parse(
      v.array(v.looseObject({ name: v.string(), state: v.string() })),
      await fleet.holdfast('campaign', 'list'),
    );
    return campaigns[0]?.state === 'completed';
  });
});

const isOver = ({ status }: ExecutionEntry): boolean =>
  ['succeeded', 'failed', 'unproven', 'rolled_back'].includes(status);
