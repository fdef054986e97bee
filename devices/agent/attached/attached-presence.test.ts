import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog as log } from '../log.js';
import { makeDirectory } from '../update/update-fixture.js';
import { AttachedPresence } from './attached-presence.js';
import { openAttachedRecord } from './attached-record.js';

const setUp = async (t: Test) => {
  const { path, remove } = await makeDirectory();
  t.teardown(remove);
  let changes = 0;
  const open = async () => {
    const record = await openAttachedRecord(path, log);
    return new AttachedPresence({ record, log, changed: () => (changes += 1) });
  };
  return { path, open, changes: () => changes };
};

const hello = { id: 'pump-1', model: 'pump', version: '1.0.0', boot: 'b' };

t.test('is known by its last hello, over restarts', async (t) => {
  const { open, changes } = await setUp(t);
  const presence = await open();
  t.same([presence.hello, presence.bootId], [null, 'unknown']);
  t.ok(await presence.arrive(hello));
  t.notOk(await presence.arrive(hello), 'some say it again and again');
  t.same(presence.facts, { online: true });
  t.ok(presence.leave('it is silent'));
  t.notOk(presence.leave('it is silent'));
  t.same(presence.facts, { online: false, reason: 'it is silent' });
  t.equal(changes(), 2);
  const again = await open();
  t.match(again.hello, { version: '1.0.0' });
  t.notOk(again.isOnline);
});

t.test('tells its runs apart after a flash, even where it says the same of each', async (t) => {
  const { open } = await setUp(t);
  const presence = await open();
  await presence.arrive(hello);
  presence.leave('flashing');
  await presence.arrive(hello);
  t.equal(presence.bootId, 'b', 'a line that came back is no reset');
  await presence.lend();
  // The process ends in the middle of the flash.
  const after = await open();
  t.equal(after.bootId, 'b');
  await after.arrive(hello);
  t.equal(after.bootId, 'b~1');
  await after.arrive({ ...hello, boot: 'c' });
  t.equal(after.bootId, 'c');
});

t.test('gives its hello to whoever waits for it, or ends the wait', async (t) => {
  const { open } = await setUp(t);
  const presence = await open();
  const waiting = presence.awaitHello(AbortSignal.timeout(5_000));
  await presence.arrive(hello);
  t.match(await waiting, { boot: 'b' });
  t.match(await presence.awaitHello(AbortSignal.timeout(5_000)), { boot: 'b' });
  presence.leave('away');
  const abort = new AbortController();
  const ended = presence.awaitHello(abort.signal);
  abort.abort(new Error('no more'));
  await t.rejects(ended, { message: 'no more' });
});

t.test('serves a microcontroller though the disk takes nothing', async (t) => {
  const { path, open } = await setUp(t);
  const presence = await open();
  await mkdir(join(path, 'attached.json', 'x'), { recursive: true });
  await presence.lend();
  t.ok(await presence.arrive(hello));
  t.match(presence.hello, { boot: 'b' });
});
