import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { explainPort, terminalHolder, whatGivesRights } from './explain-port.js';
import { findPort } from './find-port.js';
import { listSystemPorts } from './system-ports.js';
import { parseUsbAddress } from './usb-address.js';

/** As the kernel shows an adapter with its ports: `[tty, interface]`. */
const plug = async (
  sysfs: string,
  socket: string,
  attributes: Readonly<Record<string, string>>,
  ttys: readonly (readonly [name: string, interfaceNumber: number])[],
) => {
  const device = join(sysfs, 'devices/pci0/usb1', socket);
  for (const [name, number] of ttys) {
    const port = join(device, `${socket}:1.${String(number)}`, name);
    await mkdir(port, { recursive: true });
    await writeFile(join(port, '../bInterfaceNumber'), `0${String(number)}\n`);
    await mkdir(join(sysfs, 'bus/usb-serial/drivers/ftdi_sio'), { recursive: true });
    await symlink(join(sysfs, 'bus/usb-serial/drivers/ftdi_sio'), join(port, 'driver'));
    await mkdir(join(sysfs, 'class/tty', name), { recursive: true });
    await symlink(port, join(sysfs, 'class/tty', name, 'device'));
  }
  for (const [name, text] of Object.entries(attributes)) {
    await writeFile(join(device, name), `${text}\n`);
  }
};

const arduino = { idVendor: '2341', idProduct: '0043', manufacturer: 'Arduino', product: 'Uno' };
const cheap = { idVendor: '1a86', idProduct: '7523', product: 'USB Serial' };

const machine = async (t: Test) => {
  const sysfs = join(t.testdir({ sys: { class: { tty: {} } } }), 'sys');
  // A console, and the name of an 8250 chip that is not there.
  await mkdir(join(sysfs, 'class/tty/tty0'));
  await mkdir(join(sysfs, 'devices/serial8250'), { recursive: true });
  for (const [name, type] of [
    ['ttyS0', '4'],
    ['ttyS1', '0'],
  ] as const) {
    await mkdir(join(sysfs, 'class/tty', name));
    await symlink(join(sysfs, 'devices/serial8250'), join(sysfs, 'class/tty', name, 'device'));
    await writeFile(join(sysfs, 'class/tty', name, 'type'), `${type}\n`);
  }
  return { sysfs, dev: '/dev' };
};

t.test('the ports of a machine are those that have a chip behind them', async (t) => {
  const roots = await machine(t);
  await plug(roots.sysfs, '1-1.2', { ...arduino, serial: '8543' }, [['ttyACM0', 0]]);
  t.strictSame(await listSystemPorts(roots), [
    {
      path: '/dev/ttyACM0',
      driver: 'ftdi_sio',
      usb: {
        vendor: '2341',
        product: '0043',
        serial: '8543',
        title: 'Arduino Uno',
        socket: '1-1.2',
        interface: '1-1.2:1.0',
      },
    },
    { path: '/dev/ttyS0', driver: '', usb: null },
  ]);
  t.same(await listSystemPorts({ sysfs: '/nowhere' }), []);
});

t.test('a port is found by its USB id, under whatever number it has', async (t) => {
  const roots = await machine(t);
  t.match(await findPort({ usb: '2341:0043' }, roots), {
    reason: 'no port has the USB id 2341:0043',
    next: 'plug it in, or name another: there are /dev/ttyS0',
  });
  await plug(roots.sysfs, '1-1.2', { ...arduino, serial: '8543' }, [['ttyACM7', 0]]);
  t.same(await findPort({ usb: '2341:0043' }, roots), { path: '/dev/ttyACM7' });
  t.same(await findPort({ usb: '2341:0043:8543' }, roots), { path: '/dev/ttyACM7' });
  t.match(await findPort({ usb: '2341:0043:9999' }, roots), {
    next: /there are usb 2341:0043:8543, \/dev\/ttyS0/,
  });
});

t.test('two of the same id are told apart by serial number, socket or interface', async (t) => {
  const roots = await machine(t);
  await plug(roots.sysfs, '1-1.2', cheap, [['ttyUSB0', 0]]);
  await plug(roots.sysfs, '1-1.3', cheap, [['ttyUSB1', 0]]);
  t.strictSame(await findPort({ usb: '1a86:7523' }, roots), {
    reason: '2 ports have the USB id 1a86:7523, and nothing in it tells them apart',
    next: 'name the one that is meant: usb 1a86:7523@1-1.2 (/dev/ttyUSB0), usb 1a86:7523@1-1.3 (/dev/ttyUSB1)',
  });
  t.same(await findPort({ usb: '1A86:7523@1-1.3' }, roots), { path: '/dev/ttyUSB1' });
  const quad = { idVendor: '0403', idProduct: '6011', serial: 'FT1' };
  await plug(roots.sysfs, '2-1', quad, [
    ['ttyUSB2', 0],
    ['ttyUSB3', 1],
  ]);
  t.match(await findPort({ usb: '0403:6011:FT1' }, roots), {
    next: /usb 0403:6011@2-1:1.0 \(\/dev\/ttyUSB2\)/,
  });
  t.same(await findPort({ usb: '0403:6011:FT1@2-1:1.1' }, roots), { path: '/dev/ttyUSB3' });
});

t.test('a path leads to a device that is there, or says what it is', async (t) => {
  const folder = t.testdir({ file: '' });
  t.same(await findPort({ path: '/dev/null' }), { path: '/dev/null' });
  t.match(await findPort({ path: join(folder, 'none') }), { reason: /none is not there/ });
  t.match(await findPort({ path: join(folder, 'file') }), {
    reason: /is no serial port/,
    next: /ttyUSB0/,
  });
});

t.test('what is no USB id is none', (t) => {
  for (const text of ['2341', '2341:43', '2341:0043:', '2341:0043@', '2341:0043@x', 'a b']) {
    t.equal(parseUsbAddress(text), null, text);
  }
  t.same(parseUsbAddress('2341:0043:A:B-1@1-1.2:1.0'), {
    vendor: '2341',
    product: '0043',
    serial: 'A:B-1',
    socket: '1-1.2:1.0',
  });
  t.end();
});

t.test('why a port is not opened is said with what to do', async (t) => {
  const folder = t.testdir({ tty: '', group: 'root:x:0:\ndialout:x:20:anna\n' });
  const path = join(folder, 'tty');
  const groupFile = join(folder, 'group');
  const explain = (message: string, more: object = {}) =>
    explainPort(path, new Error(message), { groupFile, user: 'holdfast', proc: folder, ...more });
  t.match(
    await explain('Error: Permission denied, cannot open /dev/x', { mayUse: async () => false }),
    {
      reason: /may not be used by holdfast: it is root's alone/,
      next: /^echo 'KERNEL=="tty", GROUP="dialout", MODE="0660"' \| sudo tee/,
    },
  );
  const plugged = { path: '/dev/ttyUSB0', mode: 0o20660, gid: 20 };
  t.same(
    await whatGivesRights(plugged, { user: 'holdfast', service: 'holdfast-gateway', groupFile }),
    {
      reason: '/dev/ttyUSB0 may not be used by holdfast: it belongs to the group dialout',
      next: 'sudo usermod -aG dialout holdfast, then sudo systemctl restart holdfast-gateway (started by hand: log in again, and start it anew)',
    },
  );
  t.match(await explain('Error: Operation not permitted, cannot open /dev/x'), {
    next: /DeviceAllow=.* rw/,
  });
  t.match(await explain('Error: Inappropriate ioctl for device setting custom baud rate of 4098'), {
    reason: /is no serial port/,
  });
  t.match(await explain('Error Resource temporarily unavailable Cannot lock port'), {
    reason: /in use by another program/,
    next: 'end that program',
  });
  t.match(await explain('Error: Input/output error, cannot open /dev/x'), {
    reason: `${path}: Input/output error`,
  });
  t.match(await explainPort(join(folder, 'none'), new Error('x')), {
    reason: /not there any more/,
  });
});

t.test('a getty is found by its terminal', async (t) => {
  // 1:3 as the kernel packs it is what the null device has.
  const proc = t.testdir({
    '7': { stat: '7 (a (b) getty) S 1 7 7 259 7 0' },
    '8': { stat: '8 (other) S 1 7 7 0 7 0' },
    self: {},
  });
  t.same(await terminalHolder('/dev/null', proc), { pid: 7, name: 'a (b) getty' });
  t.equal(await terminalHolder('/dev/zero', proc), null);
  t.equal(await terminalHolder('/dev/none', proc), null);
});
