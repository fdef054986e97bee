import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { appliedIn } from './test-site-gateway.js';

t.test('nothing applied: the defaults, and nothing on disk', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  t.equal(applied.current, null);
  t.equal(await applied.text(), undefined);
  t.same(await readdir(folder), []);
});

t.test('a new one counts at once, on trial, and stays when it is confirmed', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('a: 1\n', 'anna');
  const again = await appliedIn(folder);
  t.equal((await again.text())?.text, 'a: 1\n');
  t.equal(again.onTrial, 1);
  t.ok(await again.attempt());
  await again.confirm(1);
  const kept = await appliedIn(folder);
  t.equal(kept.onTrial, undefined);
  t.match(kept.current, { revision: 1, by: 'anna' });
  t.match(kept.outcome, { revision: 1, result: 'confirmed', journalled: false });
  t.ok(await kept.attempt(), 'a start later is no attempt');
});

t.test('one that was tried in vain is rolled back by the next start', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('a: 1\n', 'anna');
  await applied.confirm(1);
  await applied.begin('a: 2\n', 'bert');
  t.ok(await applied.attempt());
  const next = await appliedIn(folder);
  t.notOk(await next.attempt());
  t.equal((await next.text())?.text, 'a: 1\n');
  t.match(next.outcome, { revision: 2, result: 'rolled_back', by: 'bert' });
  t.ok(await next.attempt());
  const { revision } = await next.begin('a: 3\n', 'bert');
  t.equal(revision, 3, 'a number is not given twice');
});

t.test('what failed for another reason may be tried again', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('a: 1\n', 'anna');
  t.ok(await applied.attempt());
  await applied.forgive(1);
  t.ok(await (await appliedIn(folder)).attempt());
});

t.test('a second trial falls back to what was confirmed, not to the first trial', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('a: 1\n', 'anna');
  await applied.confirm(1);
  await applied.begin('a: 2\n', 'anna');
  await applied.begin('a: 3\n', 'anna');
  await applied.confirm(2);
  t.equal(applied.onTrial, 3, 'the verdict on another one says nothing');
  await applied.rollBack(3, 'no');
  t.equal((await applied.text())?.text, 'a: 1\n');
});

t.test('a file that was changed or is gone is not used', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('a: 1\n', 'anna');
  await applied.confirm(1);
  await applied.begin('a: 2\n', 'anna');
  await applied.confirm(2);
  await writeFile(join(folder, 'site/2.yaml'), 'a: 3\n');
  t.equal((await applied.text())?.text, 'a: 1\n');
  await rm(join(folder, 'site/2.yaml'));
  await rm(join(folder, 'site/1.yaml'));
  t.equal(await applied.text(), undefined);
});

t.test('keeps the files of the last five', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  for (let i = 1; i <= 8; i += 1) {
    await applied.begin(`a: ${i}\n`, 'anna');
    await applied.confirm(i);
  }
  const files = (await readdir(join(folder, 'site'))).filter((name) => name.endsWith('.yaml'));
  t.same(files.sort(), ['4.yaml', '5.yaml', '6.yaml', '7.yaml', '8.yaml']);
});

t.test('what was confirmed is there to fall back to, however many failed since', async (t) => {
  const folder = t.testdir();
  const applied = await appliedIn(folder);
  await applied.begin('good: 1\n', 'anna');
  await applied.confirm(1);
  for (let revision = 2; revision <= 8; revision += 1) {
    await applied.begin(`bad: ${revision}\n`, 'anna');
    await applied.rollBack(revision, 'not healthy');
  }
  t.equal((await applied.text())?.text, 'good: 1\n');
});
