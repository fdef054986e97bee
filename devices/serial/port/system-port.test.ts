import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openPseudoTerminal } from '../pseudo-terminal.js';
import { explainPort } from './explain-port.js';
import { usualSettings } from './port-settings.js';
import { openSystemPort } from './system-port.js';

const begin = async (t: Test, link?: string) => {
  const pty = await openPseudoTerminal(link === undefined ? {} : { link });
  t.teardown(() => pty.close());
  const port = await openSystemPort(pty.path, usualSettings);
  t.teardown(() => port.close());
  return { pty, port };
};

t.test('brings bytes as they are, both ways', async (t) => {
  const { pty, port } = await begin(t);
  const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const arrive = (listen: (take: (bytes: Buffer) => void) => void): Promise<Buffer> =>
    new Promise((resolve) => {
      let all = Buffer.alloc(0);
      listen((bytes) => {
        all = Buffer.concat([all, bytes]);
        if (all.length >= every.length) resolve(all);
      });
    });
  const up = arrive((take) => port.onBytes(take));
  pty.write(every);
  t.same(await up, every);
  const down = arrive((take) => pty.onData(take));
  await port.write(every);
  await port.drain();
  t.same(await down, every);
});

t.test('reads no more while what it brought is not taken', async (t) => {
  const { pty, port } = await begin(t);
  let brought = 0;
  let go: () => void = () => undefined;
  const first = new Promise<void>((resolve) => {
    port.onBytes((bytes) => {
      brought += bytes.length;
      resolve();
      return new Promise((release) => {
        go = release;
      });
    });
  });
  const total = 100_000;
  pty.write(Buffer.alloc(total, 'x'));
  await first;
  const before = brought;
  // Nothing can be waited for where nothing is to come: a turn through the port's own thread is time enough to read.
  await port.drain();
  t.equal(brought, before);
  await new Promise<void>((resolve) => {
    port.onBytes((bytes) => {
      brought += bytes.length;
      if (brought >= total) resolve();
    });
    go();
  });
  t.equal(brought, total);
});

t.test('a terminal has no modem lines, and says so', async (t) => {
  const { port } = await begin(t);
  t.equal(await port.setModemLines({ dtr: false }), false);
  t.equal(await port.setModemLines({ rts: true }), false);
});

t.test("its speed is changed while it is open, and what it can't be is refused", async (t) => {
  const { pty, port } = await begin(t);
  await port.change({ baudRate: 57_600 });
  await port.change({ stopBits: 2 });
  await port.change({ stopBits: 2, baudRate: 115_200 });
  // The kernel gives terminals eight bits and no parity.
  await t.rejects(port.change({ dataBits: 7, parity: 'even' }), {
    code: 'SERIAL_SETTINGS_REFUSED',
    message: /115200 baud, 7E2/,
  });
  const heard = new Promise<void>((resolve) => port.onBytes(() => resolve()));
  pty.write('still there');
  await heard;
});

t.test('is gone when its terminal is, and with it what waits', async (t) => {
  const { pty, port } = await begin(t);
  await pty.close();
  t.ok((await port.gone).length > 0);
  for (const refused of [
    () => port.write(Buffer.from('x')),
    () => port.drain(),
    () => port.change({ baudRate: 9_600 }),
    async () => void (await port.setModemLines({ dtr: false })),
  ]) {
    await t.rejects(refused, { code: 'SERIAL_LINE_DOWN' });
  }
  await Promise.all([port.close(), port.close()]);
});

t.test('is gone when its name leads to another', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-port-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const link = join(folder, 'tty');
  const { port } = await begin(t, link);
  const other = await openPseudoTerminal({ link });
  t.teardown(() => other.close());
  t.equal(await port.gone, 'the port vanished');
});

t.test('ends with a listener that fails', async (t) => {
  const { pty, port } = await begin(t);
  port.onBytes(() => {
    throw new Error('a mistake');
  });
  pty.write('x');
  t.equal(await port.gone, 'a mistake');
});

t.test('what another program has is not opened, and whose it is can be said', async (t) => {
  const pty = await openPseudoTerminal();
  const holder = spawn('flock', ['-F', '-n', pty.path, 'sh', '-c', 'echo has it; exec sleep 60']);
  t.teardown(async () => {
    holder.kill();
    await pty.close();
  });
  await once(holder.stdout, 'data');
  const error = await openSystemPort(pty.path, usualSettings).catch((cause: unknown) => cause);
  t.match(await explainPort(pty.path, error), {
    reason: new RegExp(`^${pty.path} is in use by (sh|sleep|flock|script) \\(process \\d+\\)$`),
    next: 'end that program',
  });
});

t.test('what is no terminal is not opened', async (t) => {
  await t.rejects(openSystemPort('/dev/null', usualSettings), { message: /Inappropriate ioctl/ });
});
