import { join } from 'node:path';
import t from 'tap';
import { openDatabase } from './database.js';

t.test('closes while statements are being prepared, and answers each of them', async (t) => {
  for (let turn = 0; turn < 20; turn += 1) {
    const database = await openDatabase({ path: join(t.testdir(), `${turn}.db`) });
    const asked = Array.from({ length: 8 }, (_, n) => database.all(`SELECT ${n} AS n`));
    await new Promise(setImmediate);
    const [answers] = await Promise.all([Promise.allSettled(asked), database.close()]);
    for (const answer of answers) {
      if (answer.status === 'rejected') t.equal(answer.reason.code, 'STORE_UNAVAILABLE');
    }
    t.equal(answers.length, 8);
  }
});
