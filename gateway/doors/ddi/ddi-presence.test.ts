import t from 'tap';
import { DdiPresence } from './ddi-presence.js';

t.test('a device is there until it has missed two of its times, and comes back anew', async (t) => {
  let now = 0;
  const said: string[] = [];
  const presence = new DdiPresence({
    devices: {
      connected: (device, session, facts) => said.push(`${device} ${session} ${facts?.door}`),
      disconnected: (device, session) => said.push(`${device} left ${session}`),
      seen: (device) => said.push(`${device} seen`),
    },
    monotonic: () => now,
  });
  t.equal(presence.asked('pump-1', 300_000), true);
  now += 300_000;
  t.equal(presence.asked('pump-1', 300_000), false);
  now += 650_000;
  presence.look();
  t.same(said, ['pump-1 ddi:1 ddi', 'pump-1 seen']);
  now += 10_000;
  presence.look();
  t.equal(said.at(-1), 'pump-1 left ddi:1');
  t.equal(presence.isThere('pump-1'), false);
  t.equal(presence.asked('pump-1', 300_000), true);
  presence.close();
  presence.close();
  t.same(said.slice(3), ['pump-1 ddi:2 ddi', 'pump-1 left ddi:2']);
});
