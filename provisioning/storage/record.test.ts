import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openRecord, type StoredRecord } from './record.js';

interface Slots {
  readonly active: string;
}

const parse = (value: unknown): Slots => {
  if (
    typeof value === 'object' &&
    value !== null &&
    'active' in value &&
    typeof value.active === 'string'
  ) {
    return { active: value.active };
  }
  throw new Error('no slots');
};

async function pathIn(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'record-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return join(folder, 'slots.json');
}

function openSlots(path: string, told: object[] = []): Promise<StoredRecord<Slots>> {
  const keep = (data: object): number => told.push(data);
  const log = { info: keep, warn: keep, error: keep };
  return openRecord({
    path,
    parse,
    initial: { active: 'a' },
    log,
    now: () => Date.UTC(2025, 0, 2),
  });
}

t.test('holds what was written, readable and for its owner alone', async (t) => {
  const path = await pathIn(t);
  const record = await openSlots(path);
  t.same(record.data, { active: 'a' });
  await record.update(() => ({ active: 'b' }));
  t.equal(await readFile(path, 'utf8'), '{\n  "active": "b"\n}\n');
  t.equal((await stat(path)).mode & 0o777, 0o600);
  const again = await openSlots(path);
  t.same(again.data, { active: 'b' });
  t.equal(again.recovered, undefined);
});

t.test('updates run one after the other, each on the value before', async (t) => {
  const record = await openSlots(await pathIn(t));
  const updates = ['b', 'c', 'd'].map((slot) =>
    record.update(({ active }) => ({ active: active + slot })),
  );
  await Promise.all(updates);
  t.same(record.data, { active: 'abcd' });
});

t.test('an update that throws, or makes no record, changes nothing', async (t) => {
  const path = await pathIn(t);
  const record = await openSlots(path);
  await record.update(() => ({ active: 'b' }));
  await t.rejects(
    record.update(() => {
      throw new Error('no');
    }),
    { message: 'no' },
  );
  await t.rejects(
    record.update(() => ({}) as Slots),
    { message: 'no slots' },
  );
  t.same(record.data, { active: 'b' });
  t.same((await openSlots(path)).data, { active: 'b' });
});

for (const [what, torn] of [
  ['cut short', '{\n  "acti'],
  ['emptied', ''],
  ['of another shape', '{"x":1}'],
  ['filled with zeros', '\0'.repeat(20)],
] as const) {
  t.test(`a file that is ${what} is put aside and the version before loads`, async (t) => {
    const path = await pathIn(t);
    const record = await openSlots(path);
    await record.update(() => ({ active: 'b' }));
    await record.update(() => ({ active: 'c' }));
    await writeFile(path, torn);
    const told: object[] = [];
    const recovered = await openSlots(path, told);
    t.same(recovered.data, { active: 'b' });
    const movedTo = `${path}.torn-20250102T000000.000Z`;
    t.match(recovered.recovered, { movedTo, reason: String });
    t.match(told, [{ path, movedTo }]);
    t.equal(await readFile(movedTo, 'utf8'), torn);
    await recovered.update(() => ({ active: 'd' }));
    await writeFile(path, torn);
    t.same(
      (await openSlots(path)).data,
      { active: 'b' },
      'the torn version never took the place of a whole one',
    );
  });
}

t.test('a write cut between its two renames leaves the version before', async (t) => {
  const path = await pathIn(t);
  const record = await openSlots(path);
  await record.update(() => ({ active: 'b' }));
  await writeFile(`${path}.tmp`, '{"active":"c"}');
  await rename(path, `${path}.previous`);
  const after = await openSlots(path);
  t.same(after.data, { active: 'b' });
  await after.update(() => ({ active: 'd' }));
  t.same((await readdir(join(path, '..'))).sort(), ['slots.json', 'slots.json.previous']);
  t.same((await openSlots(path)).data, { active: 'd' });
});

t.test('says so when no version is whole', async (t) => {
  const path = await pathIn(t);
  await writeFile(path, '{');
  await t.rejects(openSlots(path), { code: 'STORE_CORRUPT', message: /slots\.json/ });
  t.equal(await readFile(path, 'utf8'), '{', 'and leaves it where it is');
});
