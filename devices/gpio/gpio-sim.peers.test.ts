import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { gpioSimKernel } from './vm/gpio-sim-kernel.js';
import { reportGuest } from './vm/guest-report.js';
import { newerGpiod } from './vm/newer-gpiod.js';
import { Qmp } from './vm/qmp.js';

const cache = fileURLToPath(
  new URL('../../../node_modules/.cache/holdfast-gpio-sim', import.meta.url),
);
const guest = fileURLToPath(new URL('./vm/guest.js', import.meta.url));

/** The far end of the adapter, which QEMU connects to when it starts: answers every ping. */
const answerPings = async (t: Test, path: string): Promise<void> => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const ping = /ping (\d)/.exec(bytes.toString());
      if (ping !== null) socket.write(`pong ${ping[1]}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
};

t.test("lines of the kernel's own simulator, and a USB adapter that comes and goes", async (t) => {
  t.setTimeout(480_000);
  const { kernel, initramfs } = await gpioSimKernel(cache);
  const tools = await newerGpiod(cache);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-gpio-vm-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const [control, far] = [join(folder, 'qmp'), join(folder, 'far')];
  await answerPings(t, far);
  const machine = spawn(
    'qemu-system-x86_64',
    [
      // In software: what processors lend to virtual machines differs too much.
      ...['-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '768', '-no-reboot', '-nographic'],
      ...['-nodefaults', '-serial', 'stdio', '-kernel', kernel, '-initrd', initramfs],
      ...['-qmp', `unix:${control},server=on,wait=off`, '-device', 'qemu-xhci'],
      ...['-chardev', `socket,id=far,path=${far}`],
      '-virtfs',
      'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
      '-append',
      `console=ttyS0 quiet panic=-1 run=${guest} node=${process.execPath} tools=${tools}`,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  t.teardown(() => machine.kill('SIGKILL'));
  let qmp: Qmp | undefined;
  t.teardown(() => qmp?.close());
  const asked = async (what: string): Promise<void> => {
    qmp ??= await Qmp.connect(control);
    if (what === 'plug') {
      await qmp.run('device_add', { driver: 'usb-serial', id: 'adapter', chardev: 'far' });
    } else await qmp.unplug('adapter');
    machine.stdin.write('done\n');
  };
  t.ok(await reportGuest(t, machine.stdout, { asked }), 'it got to its end');
});
