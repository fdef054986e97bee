import t from 'tap';
import { executionNumber } from './execution-number.js';
import { isInRange, orderOfVersions, parseVersionRange } from './version-order.js';

t.test('orders versions as Semantic Versioning has them', async (t) => {
  const rising = [
    '0.9',
    '1.0.0-rc.1',
    '1.0.0',
    'v1.0.1',
    '1.2',
    '1.10',
    '2',
    '2.0.0.1',
    '2026.11.22',
  ];
  for (const [i, a] of rising.entries()) {
    for (const [j, b] of rising.entries()) {
      t.equal(Math.sign(orderOfVersions(a, b) ?? Number.NaN), Math.sign(i - j), `${a} and ${b}`);
    }
  }
});

t.test('says so where it cannot compare', async (t) => {
  for (const odd of ['2024-rc', 'abc', '1.x', '*', '1.2.3.4.5', '']) {
    t.equal(orderOfVersions(odd, '1.0'), undefined, odd);
    t.equal(orderOfVersions(odd, odd), 0, `${odd} is itself`);
  }
});

t.test('reads ranges', async (t) => {
  const has = (range: string, version: string | null) => {
    const parsed = parseVersionRange(range);
    return parsed === undefined ? 'no range' : isInRange(version, parsed);
  };
  t.equal(has('< 2.1.0', '2.0.9'), true);
  t.equal(has('< 2.1.0', '2.1.0'), false);
  t.equal(has('< 2.1.0', '2.1.0-rc.1'), true, 'before its release');
  t.equal(has('>=1.0 <2', '1.5'), true);
  t.equal(has('>=1.0 <2', '2.0'), false);
  t.equal(has('<1 || >= 3.1', '3.2'), true);
  t.equal(has('1.4', '1.4.0'), true);
  t.equal(has('!=1.4', '1.5'), true);
  t.equal(has('', null), true, 'everything');
  t.equal(has('>=0', null), false, 'what is not known is in no range');
  t.equal(has('>=0', 'abc'), false);
  for (const odd of ['~1', '>=', '1 - 2', '1.x', '|| 1']) t.equal(has(odd, '1'), 'no range', odd);
});

t.test('numbers an attempt alike wherever it is asked, within 31 bits', async (t) => {
  t.equal(executionNumber('c', 'd', 1), executionNumber('c', 'd', 1));
  t.not(executionNumber('c', 'd', 1), executionNumber('c', 'd', 2));
  t.not(executionNumber('c', 'd1', 1), executionNumber('c', 'd', 11));
  for (let attempt = 1; attempt < 1_000; attempt += 1) {
    const number = executionNumber('campaign', 'device', attempt);
    if (number < 1 || number > 2 ** 31 - 1) t.fail(`${number}`);
  }
  t.pass();
});
