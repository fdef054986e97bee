import { copyFile, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { jsonLines } from '@holdfast/devices/serial/json-lines/json-lines';
import { PortPair } from '@holdfast/devices/serial/port/port-pair';
import { usualSettings } from '@holdfast/devices/serial/port/port-settings';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import type { SerialHandlers } from '@holdfast/devices/serial/serial-driver';
import t, { type Test } from 'tap';
import { openSerialDoor, type SerialDoorDeps } from './serial-door.js';
import { type LineWish, SerialLines } from './serial-lines.js';
import { folderOf } from './test-serial-site.js';

const nobody = async (): Promise<undefined> => undefined;

const handlers: SerialHandlers = {
  ...{ online: nobody, offline: nobody, telemetry: nobody, reported: nobody, response: nobody },
  ...{ jobStatus: nobody, welcomed: () => undefined, failed: () => undefined },
  image: async () => Buffer.alloc(0),
  desired: async () => ({ state: {}, version: 0 }),
  time: () => ({ ts: 0, trusted: false }),
};

const wishOf = (id: string, onState?: LineWish['onState']): LineWish => ({
  driver: jsonLines,
  devices: [{ id, handlers, settings: undefined }],
  ...(onState && { onState }),
});

/** What was logged, in the order it was. */
const logged = () => {
  const said: string[] = [];
  const say =
    (level: string) =>
    (what: unknown): void => {
      const { line, reason = '', next } = what as Record<string, string | undefined>;
      said.push(`${level} ${line ?? ''} ${reason}${next === undefined ? '' : `; ${next}`}`);
    };
  return { said, log: { info: say('info'), warn: say('warn'), error: say('error') } };
};

/** Both ends of a promise. */
const gate = () => {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open: () => open(), opened };
};

t.test('a line is named once, and so is its port', async (t) => {
  const lines = new SerialLines({ now: Date.now, log: logged().log });
  lines.drive(wishOf('pump-1'), { name: 'pump-1', address: { path: '/dev/a' } });
  for (const [name, path] of [
    ['pump-1', '/dev/b'],
    ['pump-2', '/dev/a'],
  ] as const) {
    t.throws(() => lines.drive(wishOf('pump-2'), { name, address: { path } }), {
      code: 'CONFIGURATION_INVALID',
      message: /named twice/,
    });
  }
  t.equal(lines.list().length, 1);
});

t.test(
  'a port that two names lead to is opened once, and the other line says whose it is',
  async (t) => {
    const folder = await folderOf(t);
    const pty = await openPseudoTerminal();
    t.teardown(() => pty.close());
    await symlink(pty.path, join(folder, 'other'));
    const lines = new SerialLines({ now: Date.now, log: logged().log });
    const up = gate();
    const first = lines.drive(
      wishOf('pump-1', ({ state }) => state.state === 'up' && up.open()),
      { name: 'pump-1', address: { path: pty.path }, retryDelayMs: () => 5 },
    );
    const refused = gate();
    const second = lines.drive(
      wishOf('pump-2', ({ state }) => {
        if (state.state === 'down' && /is the port of the line pump-1/.test(state.reason)) {
          refused.open();
        }
      }),
      { name: 'pump-2', address: { path: join(folder, 'other') }, retryDelayMs: () => 5 },
    );
    t.teardown(() => Promise.all([first.close(), second.close()]));
    first.open();
    await up.opened;
    second.open();
    await refused.opened;
    t.match(lines.list(), [{ isUp: true }, { isUp: false, state: { next: /another port/ } }]);
  },
);

t.test('the log tells each change of a line once, with what to do', async (t) => {
  const { said, log } = logged();
  const pair = new PortPair();
  pair.unplug();
  const away = gate();
  const up = gate();
  let looks = 0;
  const lines = new SerialLines({
    ...{ now: Date.now, log, openPort: pair.openPort },
    findPort: async () => {
      looks += 1;
      if (looks > 3) away.open();
      return pair.isOpen || looks > 3
        ? { path: '/dev/x' }
        : { reason: 'it is not there', next: 'plug it in' };
    },
  });
  const line = lines.drive(
    wishOf('pump-1', ({ state }) => state.state === 'up' && up.open()),
    { name: 'pump-1', address: { path: '/dev/x' }, retryDelayMs: () => 5 },
  );
  pair.plug();
  line.open();
  await away.opened;
  await up.opened;
  await line.line.takeOver(nobody, { reason: 'flashing', signal: new AbortController().signal });
  await line.close();
  t.same(said, [
    'warn pump-1 it is not there; plug it in',
    'info pump-1 ',
    'info pump-1 flashing',
    'info pump-1 ',
    'warn pump-1 closed by us',
  ]);
});

const page = fileURLToPath(import.meta.resolve('@holdfast/devices/serial/site-driver')).replace(
  /dist\/.*$/,
  'serial/DRIVERS.md',
);

/** A door with one line that a driver of the site speaks on. */
const openDoor = async (t: Test, driver: string, folder: string) => {
  const { log } = logged();
  const fence = { check: () => undefined, onRaised: () => () => undefined };
  const deps = {
    ...{ dispatch: nobody, shadows: { get: nobody }, fence, log },
    lifecycles: { check: () => undefined },
    lines: new SerialLines({ now: Date.now, log }),
    clock: { now: () => 0, trusted: true, monotonic: () => 0 },
  } as unknown as SerialDoorDeps; // nothing is said on the line
  const door = await openSerialDoor(deps, {
    lines: [
      {
        ...{ name: 'scales', path: join(folder, 'tty'), driver, ...usualSettings },
        devices: [{ device: 'scale-1', settings: { address: 1 } }],
      },
    ],
    folder,
  });
  t.teardown(() => door.close());
  return deps.lines;
};

t.test(
  'a driver of the site is found beside its configuration, or told to be missing',
  async (t) => {
    const folder = await folderOf(t);
    const text = /```js\n(.*?)```/s.exec(await readFile(page, 'utf8'))?.[1] ?? '';
    await writeFile(join(folder, 'scale.js'), text);
    const lines = await openDoor(t, './scale.js', folder);
    t.match(lines.list(), [{ name: 'scales', driver: 'scale', devices: [{ device: 'scale-1' }] }]);
    t.ok(lines.find('scales') !== undefined && lines.find('scale-1') === lines.find('scales'));
    t.equal(lines.find('scale-2'), undefined);
    await t.rejects(openDoor(t, './none.js', folder), {
      code: 'CONFIGURATION_INVALID',
      message: /the driver \.\/none\.js is not there: put it at/,
    });
    await copyFile(join(folder, 'scale.js'), join(folder, 'other.js'));
    await openDoor(t, join(folder, 'other.js'), '/nowhere');
  },
);
