import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { applyDelta } from '@holdfast/provisioning/delta/apply-delta';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import t, { type Test } from 'tap';
import {
  firmwareOf,
  held,
  openCache,
  openNotes,
  openSource,
  send,
  sha256Of,
} from './firmware-fixture.js';
import { SiteDeltas } from './site-deltas.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const before = randomBytes(60_000);
const after = Buffer.concat([
  before.subarray(30_000),
  randomBytes(500),
  before.subarray(0, 30_000),
]);
const other = randomBytes(50_000);
const images = [before, after, other];

const openSite = async (t: Test, quotaBytes = 1_000_000) => {
  const { source } = await openSource(t, (request, response) => {
    send(request, response, images.find((one) => request.url?.endsWith(sha256Of(one))) ?? before);
  });
  const newNotes = await openNotes(t);
  const notes = await newNotes();
  const { cache, folder } = await openCache(t, source, { deps: { notes }, quotaBytes });
  const said: string[] = [];
  const log = {
    info: (_: object, message: string) => said.push(message),
    warn: (_: object, message: string) => said.push(message),
    error: (_: object, message: string) => said.push(message),
  };
  const options = { folder: join(folder, 'made'), quality: 5 };
  const deltas = new SiteDeltas({ cache, notes, log }, options);
  t.teardown(() => deltas.close());
  const [one, two, three] = images.map((image, index) => firmwareOf(image, `${index + 1}`));
  if (one === undefined || two === undefined || three === undefined) throw new Error('three');
  /** As the plan names it, which then names nothing else. */
  const comes = async (body: typeof one) => {
    cache.foresee([{ body, isUrgent: true, campaigns: ['c'], bytesPerS: null }]);
    await held(cache, body.sha256);
  };
  return { cache, folder, deltas, said, comes, one, two, three, newNotes };
};

t.test('makes the delta that the plan has not, and keeps it in mind', async (t) => {
  const { cache, folder, deltas, said, comes, one, two, three, newNotes } = await openSite(t);
  await comes(one);
  await comes(three);
  await comes(two);
  await deltas.open();
  await deltas.run();
  t.same(said, ['a delta was made of two images of this site'], 'of the third it is not worth it');
  const [delta, ...more] = cache.deltasOf(two.sha256);
  t.same(more, []);
  t.match(delta, { from_sha256: one.sha256, from_version: '1' });
  const target = join(folder, 'target');
  await applyDelta({
    ...{ source: join(folder, one.sha256), delta: join(folder, delta?.sha256 ?? ''), target },
    ...{ format: delta?.format ?? '', sha256: two.sha256, sizeBytes: two.size_bytes },
    signal: AbortSignal.timeout(60_000),
  });
  t.equal(await digestOf(target, AbortSignal.timeout(60_000)), two.sha256);
  t.same(await readdir(join(folder, 'made')), []);
  t.match((await newNotes()).get(two.sha256)?.body.deltas, [{ from_sha256: one.sha256 }]);
  t.equal((await readFile(join(folder, delta?.sha256 ?? ''))).length, delta?.size_bytes);
  await deltas.run();
  t.equal(said.length, 1, 'each once');
});

t.test(
  'makes none where the plan has one, and takes none for which there is no room',
  async (t) => {
    const { cache, deltas, said, comes, one, two } = await openSite(t, 121_000);
    await comes(one);
    await comes({ ...two, deltas: [{ ...deltaOf(one.sha256), format: 'another' }] });
    await deltas.open();
    await deltas.run();
    t.same(said, []);
    t.same(cache.deltasOf(two.sha256), []);
    const small = await openSite(t, 120_600);
    await small.comes(small.one);
    await small.comes(small.two);
    await small.deltas.open();
    await small.deltas.run();
    t.same(small.said, []);
    t.same(small.cache.deltasOf(small.two.sha256), []);
    t.ok(small.cache.isHeld(small.one.sha256), 'nothing had to go for it');
  },
);

const deltaOf = (from: string) => ({
  ...{ from_sha256: from, from_version: '1', sha256: 'd'.repeat(64), size_bytes: 5, path: '/d' },
});
