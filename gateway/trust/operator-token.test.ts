import { readFile, writeFile } from 'node:fs/promises';
import t from 'tap';
import {
  hashOperatorToken,
  isOperatorToken,
  openDrawnToken,
  watchOperatorToken,
} from './operator-token.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('a token that is drawn while the gateway runs counts at once, and no other', async (t) => {
  const folder = t.testdir({});
  const current = watchOperatorToken(folder, hashOperatorToken('hfo_first'));
  t.ok(isOperatorToken('hfo_first', current()));
  for (const token of ['hfo_second', 'hfo_third']) {
    const before = current();
    const drawn = await openDrawnToken(folder, log);
    await drawn.update(() => ({ sha256: hashOperatorToken(token), drawn_at: 1 }));
    t.ok(isOperatorToken(token, current()));
    t.not(current(), before);
    t.notOk(isOperatorToken('hfo_first', current()));
  }
  const again = watchOperatorToken(folder, hashOperatorToken('hfo_first'));
  t.ok(isOperatorToken('hfo_third', again()), 'also after a restart');
  t.notMatch(await readFile(`${folder}/operator-token.json`, 'utf8'), /hfo_/);
});

t.test('a void token counts no more where the file that says so is damaged', async (t) => {
  const drawn = JSON.stringify({ sha256: hashOperatorToken('hfo_second'), drawn_at: 1 });
  const folder = t.testdir({ 'operator-token.json': drawn });
  const running = watchOperatorToken(folder, hashOperatorToken('hfo_first'));
  running();
  for (const damaged of ['', '{"sha256":', '{}', 'null']) {
    await writeFile(`${folder}/operator-token.json`, damaged);
    const restarted = watchOperatorToken(folder, hashOperatorToken('hfo_first'));
    for (const current of [running, restarted]) {
      t.throws(current, { code: 'STORE_CORRUPT', message: /login-code/ }, damaged);
    }
  }
});
