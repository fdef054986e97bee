/** The C client on a simulated Uno, and a gateway as a program: from the first hello to the last point on disk. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkSketch, compileCabinet } from '@holdfast/devices/mcu/test-client';
import { openAvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import { compileAvrBoard, loaderFile } from '@holdfast/devices/simulator/avr-board/toolchain';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import t from 'tap';
import {
  askedUntil,
  enrolledFolder,
  localApi,
  quietYaml,
  startGateway,
} from '../../site-file/test-site-gateway.js';

const device = 'cabinet-1';

t.test(
  'the client with a sketch around it fits in 8 KB of flash and 700 bytes of RAM',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-mcu-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const { flashBytes, ramBytes } = await compileCabinet(folder, { device, version: '1.0.0' });
    t.comment(`${flashBytes} bytes of flash, ${ramBytes} of RAM`);
    t.ok(flashBytes <= 8_192, `${flashBytes} bytes of flash`);
    t.ok(ramBytes <= 700, `${ramBytes} bytes of RAM`);
  },
);

t.test('the sketch of the tutorial compiles as the Arduino IDE would', async (t) => {
  await t.resolves(checkSketch());
});

t.test('a microcontroller is a device of the site', { timeout: 120_000 }, async (t) => {
  const folder = await enrolledFolder(t);
  const [program, loader, application] = await Promise.all([
    compileAvrBoard(folder),
    loaderFile(folder, 'optiboot'),
    compileCabinet(folder, { device, version: '1.0.0', flags: ['-DMEASURE_STACK'] }),
  ]);
  const board = await openAvrBoard({
    ...{ program, loader, board: 'optiboot', flash: join(folder, 'flash.bin') },
    application: application.image,
  });
  t.teardown(() => board.close());
  const configuration = join(folder, 'site.yaml');
  const line = `serial:\n  lines:\n    - device: ${device}\n      path: ${board.path}\n`;
  await writeFile(configuration, quietYaml(line));
  const gateway = await startGateway(t, folder, ['--config', configuration]);
  const api = localApi(gateway);

  // It is known from its first hello on.
  const devices = () => api<{ devices: DeviceView[] }>('GET', '/devices');
  const { devices: found } = await askedUntil(devices, (answer) => answer.devices.some(isOnline));
  t.match(JSON.stringify(found), /"model":"cabinet".*1\.0\.0/);

  const before = await askedUntil(
    () => pointsOf(folder),
    (points) => points.length >= 2,
  );
  const [first] = before;
  t.match(first, { series: 'voltage', value: 0, seq: 0 });
  t.ok(Math.abs((first?.ts ?? 0) - Date.now()) < 60_000, 'by the clock of the gateway');

  const shadow = `/devices/${device}/shadows/-`;
  const desired = { relay: true, interval_s: 1, door_open: 5 };
  await api('PATCH', shadow, { state: { desired } });
  const view = await askedUntil(
    () => api<ShadowView>('GET', shadow),
    ({ reported }) => reported?.relay === true && reported.interval_s === 1,
  );
  t.match(view.reported, { door_open: true, dropped: 0 }, 'what it cannot be it is not');

  const command = async (type: string, payload: object = {}): Promise<CommandView> => {
    const commands = `/devices/${device}/commands`;
    const { command } = await api<CommandView>('POST', commands, { type, payload });
    return askedUntil(
      () => api<CommandView>('GET', `${commands}/${command}`),
      ({ answered_at }) => answered_at !== null,
    );
  };
  t.match(await command('blink', { times: 4 }), { state: 'succeeded', response: 4 });
  t.match(await command('dance'), { state: 'failed' });

  // Into the receiver of the board, between and inside of what the gateway sends.
  const noise = Buffer.concat([
    Buffer.alloc(2_000, '{"t":"who"'),
    Buffer.from('\xff\0*{}"\\\n', 'latin1'),
  ]);
  for (let times = 0; times < 2; times += 1) {
    await writeFile(board.path, noise, { flag: 'r+' });
    t.match(await command('blink', { times: 1 }), { state: 'succeeded', response: 1 });
  }
  const stack = await command('stack');
  t.comment(`${application.ramBytes} bytes of variables, a stack of ${String(stack.response)}`);
  t.ok(Number(stack.response) > 40 && application.ramBytes + Number(stack.response) < 1_500);

  const since = board.events.length;
  await board.powerCycle();
  await board.event(/^application started/, { since });
  await askedUntil(
    () => pointsOf(folder),
    (points) => points.some(({ boot, seq }) => boot !== first?.boot && seq === 1),
  );
  // It lost its relay with its power, and asked for what is desired.
  t.match(await command('blink'), { state: 'succeeded', response: 3 });
  await askedUntil(
    () => api<ShadowView>('GET', shadow),
    ({ reported }) => reported?.relay === true && reported.interval_s === 1,
  );
  t.match(await command('restart'), { state: 'succeeded' });
  const boots = (points: readonly Point[]) => new Set(points.map(({ boot }) => boot)).size;
  const all = await askedUntil(
    () => pointsOf(folder),
    (points) => boots(points) === 3,
  );
  const values = new Map(all.map(({ boot, seq, value }) => [`${boot} ${seq}`, value]));
  t.ok(all.every(({ boot, seq, value }) => values.get(`${boot} ${seq}`) === value));
  t.equal(values.size, all.length, 'each once');
  t.match(await gateway.stop(), { code: 0 });
});

interface DeviceView {
  readonly online?: boolean;
  readonly connected?: boolean;
}
interface ShadowView {
  readonly reported?: Readonly<Record<string, unknown>>;
}
interface CommandView {
  readonly command: string;
  readonly state: string;
  readonly response: unknown;
  readonly answered_at: number | null;
}
interface Point {
  readonly series: string;
  readonly value: number;
  readonly ts: number;
  readonly boot: string;
  readonly seq: number;
}

const isOnline = (view: DeviceView): boolean => view.online === true || view.connected === true;

const pointsOf = async (folder: string): Promise<Point[]> => {
  const store = await openDatabase({ path: join(folder, 'telemetry.db'), readOnly: true });
  try {
    const rows = await store.all<{ body: string }>(
      "SELECT body FROM journal_telemetry WHERE kind = 'point' ORDER BY seq",
    );
    return rows.map(({ body }) => JSON.parse(body) as Point);
  } finally {
    await store.close();
  }
};
