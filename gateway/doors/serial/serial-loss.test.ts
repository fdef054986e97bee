import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import { openSimulatedFlash } from '@holdfast/devices/simulator/simulated-flash';
import {
  type DeviceLine,
  SimulatedSerialDevice,
} from '@holdfast/devices/simulator/simulated-serial-device';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import t from 'tap';
import { folderOf, openSerialSite } from './test-serial-site.js';

// Whatever is lost is sent again after a while, and a busy machine takes its time for each.
t.setTimeout(120_000);

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const pump = 'pump-1';

/** Loses a fifth of the lines, each way, and puts noise before others. */
const lossy = (line: DeviceLine): DeviceLine & { readonly lost: () => number } => {
  let state = 1;
  let lost = 0;
  const oneIn = (n: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % n === 0;
  };
  const isLost = () => {
    if (!oneIn(5)) return false;
    lost += 1;
    return true;
  };
  return {
    lost: () => lost,
    write: (bytes) => {
      if (isLost()) line.write(`${bytes.slice(0, bytes.length / 2)}\n`);
      else line.write(oneIn(5) ? `~~\x00${bytes}` : bytes);
    },
    onData: (listener) => {
      let rest = '';
      line.onData((chunk) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const each of lines) if (!isLost()) listener(Buffer.from(`${each}\n`));
      });
    },
  };
};

t.test('a line that loses a fifth of everything only takes longer', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(
    t,
    folder,
    [{ device: pump, path: link, options: { pingAfterMs: 300, offlineAfterMs: 5_000 } }],
    { firmware: [{ version: '2.0.0', image: randomBytes(40_000) }] },
  );
  const pty = await openPseudoTerminal({ link });
  const line = lossy(pty);
  const directory = join(folder, 'flash');
  const flash = await openSimulatedFlash({ log }, { directory, version: '1.0.0' });
  const device = new SimulatedSerialDevice(
    { line, flash },
    { id: pump, telemetryIntervalMs: 20, resendAfterMs: 30 },
  );
  device.open();
  t.teardown(async () => {
    device.close();
    await pty.close();
  });
  await site.until(async () => {
    const found = await site.updates.executions('c-2_0_0');
    return found[0]?.[1].status === 'succeeded' ? true : undefined;
  });
  t.match(await site.updates.executions('c-2_0_0'), [[pump, { attempt: 1 }]]);
  const boot = site.devices.get(pump)?.boot;

  for (let i = 0; i < 20; i += 1) {
    await site.commands.create({
      device: pump,
      command: `c${i}`,
      type: 'identify',
      payload: null,
      expiresAt: Date.now() + 60_000,
    });
  }
  const key = { device: pump, name: classicShadow };
  const patch = { desired: { level: 9 } };
  await site.shadows.request({ ...key, type: 'update', patch, writer: 'site:ann' });
  await site.until(async () => {
    const open = (await site.commands.list(pump)).filter(({ state }) => state !== 'succeeded');
    return open.length === 0 || undefined;
  });
  await site.until(async () =>
    (await site.shadows.get(key))?.state.reported?.level === 9 ? true : undefined,
  );
  const seqs = await site.until(async () => {
    const points = (await site.points()).filter((point) => point.boot === boot);
    const found = new Set(points.map(({ seq = -1 }) => seq));
    return found.size > 30 && Math.max(...found) === found.size - 1 ? found : undefined;
  });
  t.ok(seqs.size > 30, 'every point of this boot up to the newest');
  t.ok(line.lost() > 30, 'and much was lost');
});
