import { readFile } from 'node:fs/promises';
import t from 'tap';
import { checkLine, crc16, crc32 } from './checksum.js';
import { downKinds, parseDownFrame, parseUpFrame, upKinds } from './frames.js';

const page = await readFile(new URL('../../serial/PROTOCOL.md', import.meta.url), 'utf8');

t.test('every line of the conversation is what both ends would say', async (t) => {
  const lines = [...page.matchAll(/^([↑↓]) (.*)$/gm)];
  t.ok(lines.length > 25);
  let promised = false;
  for (const [, direction, line = ''] of lines) {
    const received = direction === '↑' ? parseUpFrame(line) : parseDownFrame(line);
    t.ok(received, line);
    // A hello promises, and keeps to it at once.
    if (received?.frame.t === 'hello') promised = true;
    t.equal(received?.checksum, promised ? 32 : false, line);
    const checked = checkLine(line);
    // What the schema does not know it would leave out.
    t.same(checked.ok && JSON.parse(checked.json), received?.frame);
  }
});

t.test('the tables name every frame and no other', async (t) => {
  const tables = page.slice(0, page.indexOf('## A conversation'));
  const named = new Set([...tables.matchAll(/\{"t":"(\w+)"/g)].map(([, kind = '']) => kind));
  t.same([...named].sort(), [...new Set([...upKinds, ...downKinds])].sort());
});

t.test('the checksums of the page are those of the code', async (t) => {
  const digits = Buffer.from('123456789');
  for (const crc of [crc16, crc32]) t.match(page, `\`${crc(digits).toString(16).toUpperCase()}\``);
});
