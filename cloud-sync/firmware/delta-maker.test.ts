import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyDelta } from '@holdfast/provisioning/delta/apply-delta';
import { digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import t, { type Test } from 'tap';
import { BlobStore } from '../blobs/blob-store.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { DeltaMaker } from './delta-maker.js';
import { deltaRow, deltasOf, nextDelta } from './firmware-deltas.js';
import { type FirmwareRow, requireFirmware } from './firmware-library.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const signal = AbortSignal.timeout(60_000);

const openLibrary = async (t: Test) => {
  let at = 0;
  const store = await storeUnderTest(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-deltas-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const blobs = await BlobStore.open(join(folder, 'firmware'));
  const row = async (id: string, sha256: string, sizeBytes: number): Promise<FirmwareRow> => {
    const [model = '', version = ''] = id.split('@');
    at += 1;
    await store.engine.write(async ({ db }) => {
      await db
        .insertInto('firmware')
        .values({
          firmware_id: id,
          model,
          version,
          sha256,
          size_bytes: sizeBytes,
          file_name: '',
          created_at: at,
        })
        .execute();
    });
    return requireFirmware(store.engine.read, id);
  };
  const upload = async (id: string, image: Buffer): Promise<FirmwareRow> => {
    const sha256 = sha256Of(image);
    await blobs.put(
      (async function* () {
        yield image;
      })(),
      { sha256, sizeBytes: image.length },
    );
    return row(id, sha256, image.length);
  };
  const asked: string[] = [];
  const log = {
    info: (_: object, message: string) => asked.push(message),
    error: (_: object, message: string) => asked.push(message),
  };
  const plans = {
    requestAll: async () => {
      asked.push('plans');
    },
  };
  const maker = new DeltaMaker(
    {
      ...store,
      blobs,
      plans,
      log,
      schedule: () => ({ stop: async () => undefined }),
    },
    { folder: join(folder, 'deltas'), deltaSources: 2, deltaMaxImageBytes: 10_000_000 },
  );
  t.teardown(() => maker.close());
  return { ...store, folder, blobs, maker, asked, row, upload };
};

t.test('what is chosen: the compressed image, what most devices run, what came last', async (t) => {
  const { engine, row } = await openLibrary(t);
  for (const version of ['1', '2', '3', '4', '5']) {
    await row(`pi@${version}`, sha256Of(Buffer.from(version)), 20_000);
  }
  await row('pi@tiny', sha256Of(Buffer.from('tiny')), 1_000);
  await row('pi@huge', sha256Of(Buffer.from('huge')), 20_000_000);
  await row('mcu@1', sha256Of(Buffer.from('mcu')), 20_000);
  await engine.write(async ({ db }) => {
    for (const [id, version] of Object.entries({ a: '1', b: '1', c: '2', d: 'unknown' })) {
      await db
        .insertInto('devices')
        .values({ ...device, device_id: id, firmware_version: version })
        .execute();
    }
  });
  const made = [];
  for (;;) {
    const task = await nextDelta(engine.read, { sources: 1, maxImageBytes: 1_000_000 });
    if (task === undefined) break;
    made.push(`${task.firmware.firmware_id} from ${task.source?.version ?? 'nothing'}`);
    await engine.write(async ({ db }) => {
      await db
        .insertInto('firmware_deltas')
        .values(deltaRow(task, null, 0))
        .execute();
    });
  }
  t.same(made, ['mcu@1 from nothing', 'pi@5 from nothing', 'pi@5 from 1', 'pi@5 from 4']);
  t.same(await nextDelta(engine.read, { sources: 0, maxImageBytes: 1_000_000 }), undefined);

  // A rollback is to be as cheap: what sites are to install is made first, whatever its age.
  await engine.write(async ({ db }) => {
    await db
      .insertInto('plan_documents')
      .values({
        site_id: 'a',
        kind: 'firmware',
        id: 'pi@2',
        revision: 1,
        sha256: '',
        body_sha256: '',
        content: '',
      })
      .execute();
  });
  const next = await nextDelta(engine.read, { sources: 1, maxImageBytes: 1_000_000 });
  t.match(next, { firmware: { firmware_id: 'pi@2' }, source: null });
});

t.test('makes what is worth its bytes, and what was lost again', async (t) => {
  const { engine, folder, blobs, maker, asked, upload } = await openLibrary(t);
  const text = Buffer.from('a line of a log that repeats itself '.repeat(2_000));
  const noise = randomBytes(40_000);
  const one = await upload('pi@1', Buffer.concat([noise, text]));
  await upload('pi@other', randomBytes(80_000));
  const image = Buffer.concat([text, noise, Buffer.from('and a little more')]);
  const two = await upload('pi@2', image);
  await maker.open();
  await maker.run();
  const deltas = (await deltasOf(engine.read, ['pi@2'])).get('pi@2') ?? [];
  t.same(deltas.map(({ from_sha256 }) => from_sha256).sort(), [one.sha256, digestOfNothing].sort());
  const done = await engine.read.selectFrom('firmware_deltas').selectAll().execute();
  t.equal(done.length, 3, 'that the third is not worth it is remembered');
  t.equal(asked.filter((what) => what === 'plans').length, 2);
  for (const { from_sha256, sha256, size_bytes, format, path } of deltas) {
    t.equal(path, `/firmware/sha256/${sha256}`);
    t.equal(await blobs.sizeOf(sha256), size_bytes);
    t.ok(size_bytes < 45_000);
    const target = join(folder, 'rebuilt');
    await applyDelta({
      source: from_sha256 === digestOfNothing ? null : blobs.pathOf(from_sha256),
      delta: blobs.pathOf(sha256),
      format,
      target,
      sha256: two.sha256,
      sizeBytes: two.size_bytes,
      signal,
    });
    t.equal(await digestOf(target, signal), two.sha256);
  }

  const [lost] = deltas;
  await blobs.putAside(lost?.sha256 ?? '');
  await maker.run();
  t.equal(await blobs.sizeOf(lost?.sha256 ?? ''), lost?.size_bytes);

  await engine.write(async ({ db }) => {
    await db.deleteFrom('firmware').where('firmware_id', '=', 'pi@2').execute();
  });
  t.equal((await deltasOf(engine.read, ['pi@2'])).size, 0, 'they go with their image');
});

t.test('one that cannot be made holds up no other, until something is uploaded', async (t) => {
  const { engine, blobs, maker, asked, upload, row } = await openLibrary(t);
  const image = Buffer.from('what comes again '.repeat(2_000));
  await row('pi@gone', sha256Of(image), image.length);
  await upload('mcu@1', Buffer.concat([image, image]));
  await maker.open();
  await maker.run();
  t.ok(asked.includes('a delta could not be made; devices get the whole image'));
  t.equal((await deltasOf(engine.read, ['pi@gone', 'mcu@1'])).size, 1);
  await writeFile(blobs.pathOf(sha256Of(image)), image);
  maker.uploaded();
  await maker.run();
  t.equal((await deltasOf(engine.read, ['pi@gone', 'mcu@1'])).size, 2);
});

t.test('closes in the midst of one', async (t) => {
  const { engine, maker, asked, upload } = await openLibrary(t);
  await upload('pi@1', Buffer.concat([randomBytes(1_500_000), Buffer.alloc(1_500_000)]));
  await maker.open();
  await maker.close();
  t.same(asked, [], 'that is no failure');
  t.equal((await deltasOf(engine.read, ['pi@1'])).size, 0);
});

const device = {
  site_id: 'a',
  model: 'pi',
  serial_no: '',
  online: 0,
  last_seen_at: null,
  enrolled_at: null,
  door: 'native',
  labels: '{}',
  certificate_serial: null,
  version: 1,
};
