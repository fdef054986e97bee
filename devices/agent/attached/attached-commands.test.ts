import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import type { SerialCommand } from '../../serial/serial-driver.js';
import { silentLog as log } from '../log.js';
import { makeDirectory } from '../update/update-fixture.js';
import { AttachedCommands } from './attached-commands.js';

/** A gateway that may be away, and a microcontroller that takes what it is sent. */
const setUp = async (t: Test) => {
  const directory = await makeDirectory();
  t.teardown(directory.remove);
  const sent: SerialCommand[] = [];
  const said: [string, unknown][] = [];
  const world = { isAway: false, mostBytes: 1_000, now: 1_000 };
  const open = () =>
    AttachedCommands.open(
      {
        log,
        session: {
          publish: async (topic, payload) => {
            if (world.isAway) throw new Error('away');
            said.push([topic.split('/')[3] ?? '', payload]);
          },
        },
        send: async (command) => {
          if (JSON.stringify(command).length > world.mostBytes) {
            throw new HoldfastError('REQUEST_TOO_LARGE', 'The device takes lines of 1000 bytes');
          }
          sent.push(command);
        },
        answered: () => undefined,
        isOver: (expiresAt) => expiresAt <= world.now,
      },
      { device: 'pump-1', dataDir: directory.path },
    );
  const ask = (commands: AttachedCommands, id: string, fields: object = {}) => {
    const command = { type: 'open', expires_at: 5_000, ...fields };
    return commands.receive(id, Buffer.from(JSON.stringify(command)));
  };
  return { world, sent, said, open, ask };
};

t.test('passes an answer on, what it says on the way and how it ends', async (t) => {
  const { said, sent, open, ask } = await setUp(t);
  const commands = await open();
  await ask(commands, 'c1', { payload: { valve: 2 } });
  t.same(sent, [{ command_id: 'c1', type: 'open', payload: { valve: 2 }, expires_at: 5_000 }]);
  await commands.take({ command_id: 'c1', status: 'in_progress' });
  await commands.take({ command_id: 'c1', status: 'succeeded', result: 7 });
  // Sent again by a microcontroller that saw no acknowledgement, and one that was on its way before.
  await commands.take({ command_id: 'c1', status: 'in_progress' });
  await commands.take({ command_id: 'unknown', status: 'succeeded' });
  await commands.close();
  t.same(said, [
    ['c1', { status: 'in_progress' }],
    ['c1', { status: 'succeeded', result: 7 }],
  ]);
});

t.test('keeps what was asked and what was answered over restarts', async (t) => {
  const { world, said, sent, open, ask } = await setUp(t);
  const before = await open();
  await ask(before, 'c1');
  await ask(before, 'c2', { expires_at: 2_000 });
  world.isAway = true;
  await before.take({ command_id: 'c1', status: 'failed', error: 'stuck' });
  await before.close();
  t.same(said, []);
  world.isAway = false;
  world.now = 3_000;
  const after = await open();
  await after.started();
  after.connected();
  sent.length = 0;
  await after.welcomed();
  await after.close();
  t.same(sent, [], 'one is answered, the other is over');
  t.same(said, [
    ['c1', { status: 'failed', error: 'stuck' }],
    ['c2', { status: 'expired' }],
  ]);
  await ask(after, 'c1');
  await after.close();
  t.equal(said.length, 3, 'asked again, it is answered again');
  t.same(sent, []);
});

t.test('answers for the microcontroller what can never reach it', async (t) => {
  const { said, sent, open, ask } = await setUp(t);
  const commands = await open();
  await ask(commands, 'late', { expires_at: 500 });
  await ask(commands, 'large', { payload: 'x'.repeat(2_000) });
  await commands.receive('odd', Buffer.from('no command'));
  for (let index = 0; index < 33; index += 1) await ask(commands, `c${String(index)}`);
  await commands.close();
  const statuses = said.map(([id, body]) => [id, (body as { status: string }).status]);
  t.same(statuses, [
    ['late', 'expired'],
    ['large', 'rejected'],
    ['odd', 'rejected'],
    ['c32', 'rejected'],
  ]);
  t.equal(sent.length, 32);
});
