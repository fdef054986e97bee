import type { LineFlashRow, SerialLineRow } from '@holdfast/protos/local/serial';
import t from 'tap';
import type { CommandContext } from '../context.js';
import { Terminal } from '../terminal.js';
import { flashDevice } from './flash-device.js';

const flashRow: LineFlashRow = {
  ...{ protocol: 'stk500v1', part: 'atmega328p', phase: 'idle' },
  ...{ version: null, by: null, running: '2.0.0', trouble: null },
};

const lineRow = (
  flash: Partial<LineFlashRow>,
  line: Partial<SerialLineRow> = {},
): SerialLineRow => ({
  ...{ name: 'pump-1', driver: 'json-lines', address: '/dev/ttyUSB0', path: '/dev/ttyUSB0' },
  ...{ state: 'up', since: 1, reason: null, next: null, progress: null, baud_rate: 115_200 },
  ...{ opened: 1, bytes_in: 0, bytes_out: 0 },
  devices: [
    {
      ...{ device: 'pump-1', online: false, dropped_frames: 0, discarded_bytes: 0, others: {} },
      flash: { ...flashRow, ...flash },
    },
  ],
  ...line,
});

/** A gateway whose line is so, one look after the other. */
const person = (looks: readonly SerialLineRow[], asksGateway = true) => {
  const out: string[] = [];
  const asked: string[] = [];
  const rest = [...looks];
  const client = {
    get: async () => ({ lines: [rest.length > 1 ? rest.shift() : rest[0]], ports: [] }),
    post: async (path: string) => {
      asked.push(path);
      return { device: 'pump-1', model: 'pump', version: '1.4.0', sha256: 'd59303cde5a7ff' };
    },
  };
  const terminal = new Terminal({
    ...{ out: { write: (text) => out.push(text.trimEnd()) }, error: { write: () => undefined } },
    ...{ isJson: false, environment: {} },
  });
  const context = {
    ...{ terminal, asksGateway, signal: new AbortController().signal },
    // What it asks of a gateway is these two.
    gateway: async () => client as unknown as Awaited<ReturnType<CommandContext['gateway']>>,
  } as CommandContext;
  return {
    out,
    asked,
    run: (version?: string) => flashDevice(context, 'pump-1', { ...(version && { version }) }),
  };
};

t.test('shows how far the board is, until it says hello', async (t) => {
  const suspended = { state: 'suspended', reason: 'flashing 1.4.0' } as const;
  const { out, asked, run } = person([
    lineRow({ phase: 'checking' }),
    lineRow({ phase: 'waiting' }, suspended),
    lineRow(
      { phase: 'writing' },
      { ...suspended, progress: { stage: 'write', done_bytes: 3, total_bytes: 12 } },
    ),
    lineRow({ phase: 'proving' }),
    lineRow({ running: '1.4.0' }),
  ]);
  await run('1.4.0');
  t.same(asked, ['/devices/pump-1/flash?version=1.4.0']);
  t.same(out, [
    'pump-1 gets 1.4.0  sha256 d59303cde5a7…',
    '  looks at the release',
    '  knocks at the boot loader',
    '  write 25 %',
    '  written and verified; waits for its hello',
    '✓ pump-1 said hello and runs 1.4.0',
  ]);
});

t.test('ends with what went wrong, and asks nobody but a gateway', async (t) => {
  const { run, asked } = person([lineRow({ trouble: 'FLASH_NO_BOOT_LOADER: nothing answers' })]);
  await t.rejects(run(), { code: 'RESOURCE_CONFLICT', message: /^FLASH_NO_BOOT_LOADER/ });
  t.same(asked, ['/devices/pump-1/flash']);
  const same = person([lineRow({ running: '1.4.0', trouble: 'FLASH_PART_MISMATCH: another' })]);
  await t.rejects(same.run('1.4.0'), { message: /^FLASH_PART_MISMATCH/ });
  t.notMatch(same.out.join(), /said hello/);
  await t.rejects(person([], false).run(), {
    code: 'REQUEST_INVALID',
    data: { next: 'holdfast --gateway device flash pump-1' },
  });
});
