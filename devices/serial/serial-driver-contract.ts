/**
 * What every driver of a serial line must do, as tests: over a pair of ports in memory, with devices of its protocol at the far end.
 * A site's own driver is held to it too.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import t, { type Test } from 'tap';
import { driveLine } from './driven-line.js';
import { PortPair } from './port/port-pair.js';
import type { SerialDriver, SerialHandlers } from './serial-driver.js';

/** The device's end of a line. */
export interface FarLine {
  readonly write: (bytes: string | Uint8Array) => void;
  readonly onData: (listener: (chunk: Buffer) => void) => void;
}

/** All devices of a line: they measure at once, and answer every command. */
export interface FarEnd {
  /** Called once for each time that the line is plugged in. */
  attach(line: FarLine): void;
  close(): void;
}

export interface ContractDevice {
  readonly id: string;
  readonly settings?: unknown;
}

export interface DriverContract {
  readonly driver: SerialDriver;
  /** As the configuration says them under `options`. */
  readonly options?: unknown;
  /** The devices of the line, at least one. */
  readonly devices: readonly ContractDevice[];
  /** More, or others, than it can serve. */
  readonly refusedDevices: readonly ContractDevice[];
  readonly farEnd: (devices: readonly ContractDevice[]) => FarEnd;
  /** A command that a device does and answers with success; without it, the protocol has none. */
  readonly command?: { readonly type: string; readonly payload: JsonValue };
  /** What may be desired of a device. */
  readonly desired: JsonObject;
}

type Event = readonly [kind: string, detail?: unknown];

export const checkSerialDriver = (contract: DriverContract): void => {
  const { driver, devices, command, desired, options } = contract;

  /** Both ends of a line, and what the gateway's end told so far of each device. */
  const begin = (t: Test, handlers: Partial<SerialHandlers> = {}, served = devices) => {
    const pair = new PortPair();
    pair.unplug();
    const far = contract.farEnd(served);
    const told = served.map(() => new Told());
    const driven = driveLine(
      {
        driver,
        devices: served.map(({ id, settings }, index) => ({
          id,
          settings,
          handlers: { ...handlersOf(told[index] ?? new Told()), ...handlers },
        })),
        openPort: pair.openPort,
      },
      {
        name: 'line-1',
        address: { path: 'memory' },
        retryDelayMs: () => 5,
        driverOptions: options,
      },
    );
    t.teardown(async () => {
      far.close();
      await driven.close();
    });
    return {
      ...driven,
      pair,
      told,
      plug: (): void => {
        pair.plug();
        far.attach(pair.far);
      },
      each: (kind: string): Promise<unknown[]> => Promise.all(told.map((one) => one.next(kind))),
    };
  };

  t.test(`${driver.name}: waits for its line, then for its devices, and hears them`, async (t) => {
    const { open, plug, each, told, devices: lines } = begin(t);
    t.equal(lines.length, devices.length, 'one for each device');
    open();
    open();
    t.notOk(lines.some(({ isOnline }) => isOnline));
    t.same(
      told.flatMap(({ events }) => events),
      [],
      'a line that is away is no event',
    );
    plug();
    t.same(
      await each('online'),
      devices.map(({ id }) => id),
    );
    await each('welcomed');
    t.ok(lines.every(({ isOnline }) => isOnline));
    for (const heard of await each('telemetry')) {
      const [series, points] = heard as [string, number];
      t.ok(series.length > 0 && points > 0);
    }
  });

  if (command !== undefined) {
    t.test(`${driver.name}: brings a command to its device, and the answer back`, async (t) => {
      const { open, plug, each, told, devices: lines } = begin(t);
      open();
      plug();
      await each('welcomed');
      for (const [index, line] of lines.entries()) {
        const command_id = `c${String(index)}`;
        await line.sendCommand({ command_id, ...command, expires_at: 2_000 });
        t.match(await told[index]?.next('response'), { command_id, status: 'succeeded' });
      }
      t.notOk(
        told.some(({ events }) => events.some(([kind]) => kind === 'response')),
        'nobody else answered',
      );
    });
  }

  t.test(`${driver.name}: is offline without its line, and back with it`, async (t) => {
    const { open, plug, each, pair, devices: lines } = begin(t);
    open();
    plug();
    await each('welcomed');
    for (const line of lines) await line.sendDelta(desired, 2);
    pair.unplug();
    await each('offline');
    for (const line of lines) {
      t.notOk(line.isOnline);
      await t.rejects(line.sendDelta(desired, 3), { code: 'SERIAL_LINE_DOWN' });
    }
    plug();
    await each('online');
  });

  t.test(`${driver.name}: lets go of its line for somebody else, and goes on after`, async (t) => {
    const { open, plug, each, line, devices: lines, told } = begin(t);
    open();
    plug();
    await each('welcomed');
    const { signal } = new AbortController();
    await line.takeOver(
      async (port) => {
        await each('offline');
        port.onBytes(() => undefined);
        await port.write(Buffer.from('a boot loader is spoken to'));
        for (const one of lines) {
          t.notOk(one.isOnline);
          await t.rejects(one.sendDelta(desired, 2), { code: 'SERIAL_LINE_BUSY' });
        }
        for (const one of told) one.events.length = 0;
      },
      { reason: 'flashing', signal },
    );
    await each('online');
    await each('welcomed');
    await each('telemetry');
  });

  t.test(`${driver.name}: lets nobody in whom the gateway does not take`, async (t) => {
    const asked = new Told();
    const online = async (): Promise<void> => {
      asked.add('asked');
      throw new HoldfastError('GATEWAY_FENCED', 'g2 owns this site');
    };
    const { open, plug, close, devices: lines, told } = begin(t, { online });
    open();
    plug();
    await asked.next('asked');
    await close();
    t.notOk(lines.some(({ isOnline }) => isOnline));
    const events = told.flatMap((one) => one.events);
    t.notOk(events.some(([kind]) => kind === 'telemetry' || kind === 'welcomed'));
  });

  t.test(`${driver.name}: takes nothing of one that is refused later`, async (t) => {
    const { open, plug, each, told, devices: lines } = begin(t);
    open();
    plug();
    await each('welcomed');
    const [first, ...others] = lines;
    first?.refuse(new HoldfastError('DEVICE_DISABLED', 'it is disabled'));
    t.equal(first?.isOnline, false);
    await told[0]?.next('offline');
    t.ok(
      others.every(({ isOnline }) => isOnline),
      'the others are as they were',
    );
  });

  t.test(`${driver.name}: takes noise, a flood and silence for what they are`, async (t) => {
    const { open, plug, each, told, pair } = begin(t);
    open();
    plug();
    await each('welcomed');
    pair.far.write(Buffer.alloc(100_000, 0xa5));
    for (let byte = 0; byte < 256; byte += 1) pair.far.write(Uint8Array.of(byte));
    for (const one of told) one.events.length = 0;
    await each('telemetry');
    t.notOk(
      told.some(({ events }) => events.some(([kind]) => kind === 'failed')),
      'noise is no failure',
    );
  });

  t.test(`${driver.name}: closes twice, and where it was never open`, async (t) => {
    const { open, plug, each, close, devices: lines } = begin(t);
    open();
    plug();
    await each('online');
    await Promise.all([close(), close()]);
    await each('offline');
    t.notOk(lines.some(({ isOnline }) => isOnline));
    const other = begin(t);
    await other.close();
    t.same(
      other.told.flatMap(({ events }) => events),
      [],
    );
  });

  t.test(`${driver.name}: refuses what it can't serve`, async (t) => {
    t.throws(() => begin(t, {}, contract.refusedDevices), { code: 'CONFIGURATION_INVALID' });
    t.throws(() => begin(t, {}, []), { code: 'CONFIGURATION_INVALID' }, 'no device at all');
  });
};

/** What the gateway was told of one device, to be waited for. */
class Told {
  readonly events: Event[] = [];
  readonly #waiting = new Set<() => void>();

  add(...event: Event): void {
    this.events.push(event);
    for (const look of this.#waiting) look();
  }

  /** The next event of a kind that was not asked for yet. */
  next(kind: string): Promise<unknown> {
    return new Promise((resolve) => {
      const look = (): void => {
        const index = this.events.findIndex(([one]) => one === kind);
        if (index === -1) return;
        this.#waiting.delete(look);
        resolve(this.events.splice(index, 1)[0]?.[1]);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

const handlersOf = (told: Told): SerialHandlers => ({
  online: async (hello) => told.add('online', hello.id),
  welcomed: () => told.add('welcomed'),
  offline: async () => told.add('offline'),
  telemetry: async (series, points) => told.add('telemetry', [series, points.length]),
  reported: async (state) => told.add('reported', state),
  response: async (response) => told.add('response', response),
  jobStatus: async (status) => told.add('job status', status),
  image: async () => new Uint8Array(),
  desired: async () => ({ state: {}, version: 1 }),
  failed: (error) => told.add('failed', error),
  time: () => ({ ts: 1_000, trusted: true }),
});
