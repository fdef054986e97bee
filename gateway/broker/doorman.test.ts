import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { socketClosed } from '@holdfast/provisioning/program/socket-closed';
import t, { type Test } from 'tap';
import { Doorman, type DoormanOptions } from './doorman.js';

/** A door at which `from` arrives from an address of its own; who is let in stays in until it is told `entered`. */
const openDoor = async (t: Test, options: Partial<DoormanOptions>) => {
  const doorman = new Doorman({ maxEntering: 2, maxWaiting: 4, waitTimeoutMs: 60_000, ...options });
  const inside: { from: string; entered: () => void }[] = [];
  let seen = 0;
  let wake: (() => void) | undefined;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    doorman.admit(socket, (entered) => inside.push({ from: socket.remoteAddress ?? '', entered }));
    seen += 1;
    wake?.();
  }).listen(0, '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    doorman.close();
    server.close();
  });
  return {
    doorman,
    inside,
    from: () => inside.map(({ from }) => from.slice(-1)),
    arrive: async (host: number): Promise<Socket> => {
      const socket = connect({
        port: address.port,
        host: '127.0.0.1',
        localAddress: `127.0.0.${host}`,
      });
      socket.on('error', () => undefined);
      sockets.push(socket);
      const count = seen + 1;
      while (seen < count) await new Promise<void>((resolve) => (wake = resolve));
      return socket;
    },
    leave: (at: number) => inside[at]?.entered(),
  };
};

t.test('so many enter at a time, the next when one is in', async (t) => {
  const door = await openDoor(t, {});
  for (let at = 0; at < 4; at += 1) await door.arrive(1);
  t.equal(door.inside.length, 2);
  door.leave(0);
  door.leave(0);
  t.equal(door.inside.length, 3, 'one place, once');
  door.leave(1);
  t.equal(door.inside.length, 4);
});

t.test(
  'a crowd from one address keeps nobody else out for longer than a place takes',
  async (t) => {
    const door = await openDoor(t, {});
    for (let at = 0; at < 6; at += 1) await door.arrive(1);
    const other = await door.arrive(2);
    t.equal(other.destroyed, false);
    t.equal(door.doorman.waitingCount, 4, 'one of the crowd was turned away for it');
    door.leave(0);
    t.same(door.from(), ['1', '1', '2'], 'who is alone goes first');
    door.leave(1);
    t.same(door.from(), ['1', '1', '2', '1'], 'then the crowd, in its order');
  },
);

t.test('addresses that all wait take turns', async (t) => {
  const door = await openDoor(t, { maxEntering: 1, maxWaiting: 10 });
  for (const host of [1, 2, 2, 3, 3]) await door.arrive(host);
  for (let at = 0; at < 4; at += 1) door.leave(at);
  t.same(door.from(), ['1', '2', '3', '2', '3']);
});

t.test(
  'who is turned away is the newest of the largest crowd, and may be the one who comes',
  async (t) => {
    const door = await openDoor(t, { maxEntering: 1, maxWaiting: 3 });
    await door.arrive(1);
    const waiting = [await door.arrive(1), await door.arrive(1), await door.arrive(1)];
    const turnedAway = socketClosed(waiting[2] as Socket);
    await door.arrive(2);
    await turnedAway;
    const late = await door.arrive(1);
    await socketClosed(late);
    t.equal(door.doorman.waitingCount, 3);
  },
);

t.test('one that gives up while it waits leaves its place', async (t) => {
  const door = await openDoor(t, { maxEntering: 1 });
  await door.arrive(1);
  const gone = await door.arrive(2);
  await door.arrive(3);
  gone.resetAndDestroy();
  while (door.doorman.waitingCount > 1) await new Promise((resolve) => setImmediate(resolve));
  door.leave(0);
  t.same(door.from(), ['1', '3']);
});

t.test('one that waits too long is turned away', async (t) => {
  const door = await openDoor(t, { maxEntering: 1, waitTimeoutMs: 10 });
  await door.arrive(1);
  await once(await door.arrive(2), 'close');
  while (door.doorman.waitingCount > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(door.inside.length, 1);
});
