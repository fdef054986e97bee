import t from 'tap';
import * as v from 'valibot';
import { conflictRules, sideOf, winnerOf } from './conflict-policy.js';

t.test('the first rule that matches counts, and holds for what is below it', async (t) => {
  const rules = v.parse(conflictRules, [
    { path: 'desired.mode.manual', winner: 'latest' },
    { path: 'desired.mode', winner: 'site' },
    { shadow: 'net', path: 'desired', winner: 'cloud' },
    { path: 'desired.*.limit', winner: 'cloud' },
  ]);
  const of = (path: string, shadow = '-') => winnerOf(rules, shadow, path.split('.'));
  t.equal(of('desired.mode'), 'site');
  t.equal(of('desired.mode.auto.from'), 'site');
  t.equal(of('desired.mode.manual.level'), 'latest');
  t.equal(of('desired.model'), 'latest', 'not a prefix of the text');
  t.equal(of('desired'), 'latest', 'nothing above it');
  t.equal(of('desired.pump.limit'), 'cloud');
  t.equal(of('desired.limit'), 'latest', '* is one key');
  t.equal(of('desired.pump.inner.limit'), 'latest');
  t.equal(of('desired.anything', 'net'), 'cloud');
  t.equal(of('desired.mode', 'net'), 'site', 'a rule without a shadow is for all');
  t.equal(winnerOf(rules, '-', ['desired', 'mode.manual']), 'latest', 'a key with a dot is one');
  t.equal(winnerOf(rules, '-', ['desired', 'a.b', 'limit']), 'cloud');
  t.equal(winnerOf([], '-', ['desired', 'mode']), 'latest');
});

t.test('a path that could never match is refused', async (t) => {
  for (const path of [
    '',
    'desired.',
    '.mode',
    'mode',
    'desired..a',
    `desired.${'a'.repeat(600)}`,
  ]) {
    t.notOk(v.safeParse(conflictRules, [{ path, winner: 'cloud' }]).success, path.slice(0, 20));
  }
  t.notOk(v.safeParse(conflictRules, [{ path: 'desired', winner: 'device' }]).success);
});

t.test('everything that was written on site is the site’s side', async (t) => {
  t.equal(sideOf('cloud'), 'cloud');
  t.equal(sideOf('cloud:anna'), 'cloud');
  for (const writer of ['site:cloud', 'device:cloud', 'policy', 'cloudy']) {
    t.equal(sideOf(writer), 'site', writer);
  }
});
