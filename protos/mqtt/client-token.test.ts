import fc from 'fast-check';
import t from 'tap';
import { clientTokenIn } from './client-token.js';

const tokenIn = (text: string): string | undefined => clientTokenIn(Buffer.from(text));

t.test('finds the token at the top, whatever stands around it', async (t) => {
  t.equal(tokenIn('{"clientToken":"a"}'), 'a');
  t.equal(tokenIn(' {\n"state" : {"a":[1,{"b":"}]"}]}, "clientToken"\t:\r "a b" , "x":1}'), 'a b');
  t.equal(tokenIn(`{"state":${'['.repeat(200_000)},"clientToken":"a"}`), undefined, 'not closed');
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  t.equal(tokenIn(`{"state":${deep},"clientToken":"a"}`), 'a');
  t.equal(tokenIn('{"clientToken":"a","state":{"broken'), 'a');
  t.equal(tokenIn('{"clientToken":"\\u00e9\\"\\\\"}'), 'é"\\');
  t.equal(tokenIn('{"clientToken":"a","clientToken":"b"}'), 'b', 'the last, as JSON has it');
});

t.test('takes nothing else for it', async (t) => {
  for (const text of [
    '',
    'clientToken',
    '"clientToken":"a"',
    '["clientToken","a"]',
    '{"state":{"clientToken":"a"}}',
    '{"x":"clientToken","y":"a"}',
    '{"clientToken":1,"x":"a"}',
    '{"clientToken":["a"]}',
    '{"clientToken":"\\ud800"}',
    '{"clientToken":"a\nb"}',
    `{"clientToken":"${'é'.repeat(33)}"}`,
    `{"clientToken":"${'x'.repeat(10_000)}"}`,
  ]) {
    t.equal(tokenIn(text), undefined, text.slice(0, 50));
  }
});

t.test('finds what JSON.parse finds, and takes any bytes', async () => {
  const value = fc.letrec((tie) => ({
    json: fc.oneof(
      { maxDepth: 3 },
      fc.string(),
      fc.integer(),
      fc.array(tie('json')),
      fc.dictionary(fc.oneof(fc.string(), fc.constant('clientToken')), tie('json')),
    ),
  })).json;
  const token = fc.string({ minLength: 1, maxLength: 16, unit: 'grapheme' });
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), value),
      token,
      fc.integer({ max: 2 }),
      (other, text, by) => {
        if (Buffer.byteLength(text) > 64) return true;
        const request = { ...other, clientToken: text };
        return tokenIn(JSON.stringify(request, null, by)) === text;
      },
    ),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      clientTokenIn(bytes);
      return true;
    }),
  );
});
