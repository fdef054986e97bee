import t from 'tap';
import { Commands } from './commands.js';
import { silentLog as log } from './log.js';
import { makeDirectory } from './update/update-fixture.js';

t.test(
  'a restart of the application ends reboots, and nothing else that is under way',
  async (t) => {
    const { path: dataDir, remove } = await makeDirectory();
    t.teardown(remove);
    let boot = 'boot-1';
    const said: [topic: string, body: unknown][] = [];
    let heard: () => void = () => undefined;
    let finish: (result: string) => void = () => undefined;
    const open = () =>
      Commands.open(
        {
          session: {
            publish: async (topic, body) => {
              said.push([topic.split('/')[3] ?? '', body]);
              heard();
            },
          },
          log,
          handlers: new Map([
            [
              'measure',
              () =>
                new Promise<string>((resolve) => {
                  finish = resolve;
                }),
            ],
          ]),
          reboot: async () => undefined,
          bootId: () => boot,
          now: () => 1_000,
        },
        { device: 'dev-1', dataDir },
      );
    const answers = async (count: number): Promise<void> => {
      while (said.length < count) {
        await new Promise<void>((resolve) => {
          heard = resolve;
        });
      }
    };
    const commands = await open();
    const send = (id: string, type: string) =>
      commands.receive(id, Buffer.from(JSON.stringify({ type, payload: null, expires_at: 2_000 })));
    await send('c1', 'measure');
    await send('c2', 'reboot');
    boot = 'boot-2';
    await commands.relaunched();
    await answers(1);
    finish('warm');
    await answers(2);
    t.same(said, [
      ['c2', { status: 'succeeded', result: { boot: 'boot-2' } }],
      ['c1', { status: 'succeeded', result: 'warm' }],
    ]);
    await send('c3', 'measure');
    // The agent itself was killed.
    const again = await open();
    t.teardown(async () => {
      await commands.close();
      await again.close();
      await remove();
    });
    await again.started();
    await answers(3);
    t.match(said[2], ['c3', { status: 'failed' }]);
  },
);
