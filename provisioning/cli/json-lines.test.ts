import { Readable } from 'node:stream';
import t from 'tap';
import { collect } from './context.js';
import { jsonLines } from './json-lines.js';

t.test('reads a value a line, however they are cut, and bounds a line', async (t) => {
  const bytes = Buffer.from('{"a":"zwölf"}\n\n[1]\n2');
  const cut = [...bytes.keys()].map((at) => bytes.subarray(at, at + 1));
  t.same(await collect(jsonLines(Readable.from(cut), 100)), [{ a: 'zwölf' }, [1], 2]);
  for (const text of ['x'.repeat(200), '{"a"\n']) {
    await t.rejects(collect(jsonLines(Readable.from([Buffer.from(text)]), 100)), {
      code: 'REQUEST_INVALID',
    });
  }
});
