import t from 'tap';
import { PortPair } from '../port/port-pair.js';
import { usualSettings } from '../port/port-settings.js';
import { resetByCommand, resetByDtr, resetByGpio, resetByRts } from './resets.js';

const signal = AbortSignal.timeout(5_000);

t.test('DTR and RTS fall and rise again, as a capacitor wants it', async (t) => {
  const pair = new PortPair();
  const port = pair.open();
  const seen: string[] = [];
  pair.far.onModemLines(({ dtr, rts }) => seen.push(`${Number(dtr)}${Number(rts)}`));
  await resetByDtr(port, signal);
  t.same(seen, ['00', '11']);
  await resetByRts(port, signal);
  t.same(seen.slice(2), ['10', '11']);
});

t.test('DTR is not left down when nobody waits any longer', async (t) => {
  const pair = new PortPair();
  const port = pair.open();
  const stop = new AbortController();
  const seen: boolean[] = [];
  pair.far.onModemLines(({ dtr }) => {
    seen.push(dtr);
    stop.abort(new Error('stopped'));
  });
  await t.rejects(resetByDtr(port, stop.signal), { message: 'stopped' });
  t.same(seen, [false, true]);
});

t.test('a GPIO line pulses once, for as long as somebody waits', async (t) => {
  const port = new PortPair().open();
  const waiting: AbortSignal[] = [];
  const line = {
    pulse: async (until: AbortSignal) => {
      waiting.push(until);
    },
  };
  await resetByGpio(line)(port, signal);
  t.same(waiting, [signal]);
});

t.test(
  'the command is a frame as the hello may have promised it, at the rate of the application',
  async (t) => {
    const pair = new PortPair();
    const port = pair.open();
    const seen: string[] = [];
    pair.far.onBytes((bytes) => seen.push(bytes.toString()));
    pair.far.onSettings(({ baudRate }) => seen.push(String(baudRate)));
    await port.change({ baudRate: 57_600 });
    const reset = resetByCommand({ application: usualSettings, loader: { baudRate: 57_600 } });
    t.equal(reset.isSpoken, true);
    for (const [attempt, frame] of [
      '{"t":"bootloader"}*2521B33F',
      '{"t":"bootloader"}',
      '{"t":"bootloader"}*4402',
      '{"t":"bootloader"}*2521B33F',
    ].entries()) {
      seen.length = 0;
      await reset(port, signal, attempt + 1);
      t.same(seen, ['115200', `\n${frame}\n`, '57600']);
    }
  },
);
