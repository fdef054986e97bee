import t from 'tap';
import { parseAssignments, parseCount, parseDevice, parseJsonObject } from './arguments.js';

t.test('reads key=value pairs as one nested patch', async (t) => {
  t.same(parseAssignments(['a.b=1', 'a.c="x"', 'd=plain text', 'e=null', 'f=', 'g=[1,2]']), {
    a: { b: 1, c: 'x' },
    d: 'plain text',
    e: null,
    f: '',
    g: [1, 2],
  });
  t.same(parseAssignments(['a=1', 'a.b=2']), { a: { b: 2 } }, 'the later one wins');
});

t.test('refuses what is no pair and says what one looks like', async (t) => {
  for (const wrong of ['novalue', '=1', 'a..b=1', '.a=1']) {
    t.throws(() => parseAssignments([wrong]), { code: 'REQUEST_INVALID' }, wrong);
  }
});

t.test('takes prototype names as names', async (t) => {
  const patch = parseAssignments(['__proto__.polluted=1', 'constructor.x=2']);
  t.equal(Object.hasOwn(patch, '__proto__'), true);
  t.equal(({} as { polluted?: number }).polluted, undefined);
  t.equal(JSON.stringify(patch), '{"__proto__":{"polluted":1},"constructor":{"x":2}}');
});

t.test('tells a device with its site from one without', async (t) => {
  t.same(parseDevice('farm/pump', undefined), { site: 'farm', device: 'pump' });
  t.same(parseDevice('pump', 'barn'), { site: 'barn', device: 'pump' });
  for (const wrong of ['a/b/c', '/b', 'a/', '']) {
    t.throws(() => parseDevice(wrong, undefined), { code: 'REQUEST_INVALID' }, wrong);
  }
});

t.test('says of an id that is none what one is', async (t) => {
  for (const id of ['bad id', 'farm/pump#1', 'x'.repeat(65)]) {
    t.throws(() => parseDevice(id, undefined), { message: /is no device id/ }, id);
  }
});

t.test('reads counts and JSON objects, or says what they have to be', async (t) => {
  t.equal(parseCount('retries')('3'), 3);
  t.throws(() => parseCount('retries')('-1'), /whole number from 0/);
  t.throws(() => parseCount('retries', 1)('x'), /not 'x'/);
  t.same(parseJsonObject('{"a":1}', 'the payload'), { a: 1 });
  t.same(parseJsonObject(undefined, 'the payload'), {});
  t.throws(() => parseJsonObject('[1]', 'the payload'), /JSON object/);
});
