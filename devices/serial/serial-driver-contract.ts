/** What every driver of a serial line must do, as tests: over a real terminal, with a device of its protocol at the far end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import t, { type Test } from 'tap';
import { openPseudoTerminal, type PseudoTerminal } from './pseudo-terminal.js';
import type { DriverLineOptions, SerialDriver, SerialHandlers } from './serial-driver.js';

/** A device of the driver's protocol: it measures at once and answers every command. */
export interface FarEnd {
  attach(line: PseudoTerminal): void;
  close(): void;
}

export interface DriverContract {
  readonly driver: SerialDriver;
  readonly farEnd: (id: string) => FarEnd;
  /** A command that the device does and answers with success. */
  readonly command: { readonly type: string; readonly payload: null };
  readonly options?: Partial<DriverLineOptions>;
}

type Event = readonly [kind: string, detail?: unknown];

export const checkSerialDriver = ({ driver, farEnd, command, options }: DriverContract): void => {
  /** Both ends of a line, and what the gateway's end told so far. */
  const begin = async (t: Test, handlers: Partial<SerialHandlers> = {}, id = 'pump-1') => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-driver-'));
    const link = join(folder, 'tty');
    const device = farEnd(id);
    const terminals: PseudoTerminal[] = [];
    const events: Event[] = [];
    const waiting = new Set<() => void>();
    const tell = (...event: Event): void => {
      events.push(event);
      for (const look of waiting) look();
    };
    const line = driver.line(
      {
        line: (isUp) => tell(isUp ? 'line up' : 'line down'),
        online: async (hello) => tell('online', hello.id),
        welcomed: () => tell('welcomed'),
        offline: async () => tell('offline'),
        telemetry: async (series, points) => tell('telemetry', [series, points.length]),
        reported: async (state) => tell('reported', state),
        response: async (response) => tell('response', response),
        jobStatus: async (status) => tell('job status', status),
        image: async () => new Uint8Array(),
        desired: async () => ({ state: {}, version: 1 }),
        failed: (error) => tell('failed', error),
        time: () => ({ ts: 1_000, trusted: true }),
        ...handlers,
      },
      { deviceId: 'pump-1', path: link, retryDelayMs: () => 20, ...options },
    );
    t.teardown(async () => {
      device.close();
      await line.close();
      for (const terminal of terminals) await terminal.close();
      await rm(folder, { recursive: true });
    });
    return {
      line,
      events,
      tell,
      plug: async (): Promise<PseudoTerminal> => {
        const terminal = await openPseudoTerminal({ link });
        terminals.push(terminal);
        device.attach(terminal);
        return terminal;
      },
      /** The next event of a kind that was not asked for yet. */
      next: (kind: string): Promise<unknown> =>
        new Promise((resolve) => {
          const look = (): void => {
            const index = events.findIndex(([one]) => one === kind);
            if (index === -1) return;
            waiting.delete(look);
            resolve(events.splice(index, 1)[0]?.[1]);
          };
          waiting.add(look);
          look();
        }),
    };
  };

  t.test(`${driver.name}: waits for its line, then for its device, and hears it`, async (t) => {
    const { line, plug, next, events } = await begin(t);
    line.open();
    line.open();
    t.notOk(line.isOnline);
    t.same(events, [], 'a line that is away is no event');
    await plug();
    await next('line up');
    t.equal(await next('online'), 'pump-1');
    await next('welcomed');
    t.ok(line.isOnline);
    const [series, points] = (await next('telemetry')) as [string, number];
    t.ok(series.length > 0 && points > 0);
  });

  t.test(`${driver.name}: brings a command down and its answer up`, async (t) => {
    const { line, plug, next } = await begin(t);
    line.open();
    await plug();
    await next('welcomed');
    await line.sendCommand({ command_id: 'c1', ...command, expires_at: 2_000 });
    t.match(await next('response'), { command_id: 'c1', status: 'succeeded' });
    await line.sendDelta({ any: 1 }, 2);
  });

  t.test(`${driver.name}: is offline without its line, and back with it`, async (t) => {
    const { line, plug, next } = await begin(t);
    line.open();
    const first = await plug();
    await next('online');
    await first.close();
    await next('offline');
    t.notOk(line.isOnline);
    await t.rejects(line.sendDelta({ any: 1 }, 2), { code: 'SERIAL_LINE_DOWN' });
    await plug();
    t.equal(await next('online'), 'pump-1');
  });

  t.test(`${driver.name}: lets nobody in whom the gateway does not take`, async (t) => {
    const asked = { tell: (): void => undefined };
    const refused = new Promise<void>((resolve) => {
      asked.tell = resolve;
    });
    const online = async (): Promise<void> => {
      asked.tell();
      throw new HoldfastError('GATEWAY_FENCED', 'g2 owns this site');
    };
    const { line, plug, events } = await begin(t, { online });
    line.open();
    await plug();
    await refused;
    await line.close();
    t.notOk(line.isOnline);
    t.notOk(events.some(([kind]) => kind === 'telemetry' || kind === 'welcomed'));
  });

  t.test(`${driver.name}: takes nothing of one that is refused later`, async (t) => {
    const { line, plug, next } = await begin(t);
    line.open();
    await plug();
    await next('welcomed');
    line.refuse(new HoldfastError('DEVICE_DISABLED', 'it is disabled'));
    t.notOk(line.isOnline);
    await next('offline');
  });

  t.test(`${driver.name}: closes twice, and where it was never open`, async (t) => {
    const { line, plug, next } = await begin(t);
    line.open();
    await plug();
    await next('online');
    await Promise.all([line.close(), line.close()]);
    await next('offline');
    t.notOk(line.isOnline);
    const other = await begin(t);
    await other.line.close();
    t.same(other.events, []);
  });
};
