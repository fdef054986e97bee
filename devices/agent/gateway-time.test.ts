import t from 'tap';
import { GatewayTime } from './gateway-time.js';
import { silentLog as log } from './log.js';

t.test('a clock that is set meanwhile does not move the time that the gateway gave', (t) => {
  let wall = 5_000;
  let monotonic = 70;
  const time = new GatewayTime(
    {
      session: { publish: async () => undefined },
      log,
      clock: { now: () => wall, monotonic: () => monotonic, trusted: false },
    },
    { device: 'dev-1' },
  );
  t.equal(time.now(), 5_000);
  t.equal(time.isKnown, false);
  time.receive(Buffer.from(JSON.stringify({ ts: 1_800_000_000_000, trusted: true })));
  t.equal(time.isKnown, true);
  // NTP finds its server: 1970 becomes 2027.
  wall = 1_800_000_000_500;
  monotonic = 570;
  t.equal(time.now(), 1_800_000_000_500);
  time.receive(Buffer.from(JSON.stringify({ ts: 1, trusted: false })));
  t.equal(time.now(), 1_800_000_000_500, 'a gateway that does not know the time takes none away');
  t.end();
});
