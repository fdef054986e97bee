/** A gateway's end of a real terminal, the C client as a process at its far end, and a wire between them that can be made bad. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';
import type { Test } from 'tap';
import { driveLine } from '../serial/driven-line.js';
import { jsonLines } from '../serial/json-lines/json-lines.js';
import { openPseudoTerminal } from '../serial/pseudo-terminal.js';
import type { SerialHandlers, SerialResponse } from '../serial/serial-driver.js';

/** What the far end is given of what was sent; the very bytes on a good wire. */
export type Wire = (bytes: Buffer) => Buffer;
const goodWire: Wire = (bytes) => bytes;

/** How much faster the device's clock runs: its 2 s before it sends again are 50 ms. */
const speed = 40;

export class TestSite {
  readonly events: string[] = [];
  readonly points: TelemetryPoint[] = [];
  readonly responses: SerialResponse[] = [];
  reported: JsonObject = {};
  desired: { state: JsonObject; version: number } = { state: {}, version: 1 };
  /** Rejects what is to be taken, while set. */
  failure: HoldfastError | undefined;
  /** Refuses the hello, while set. */
  refusal: HoldfastError | undefined;
  toDevice: Wire = goodWire;
  toGateway: Wire = goodWire;
  readonly #watching = new Set<() => void>();

  tell(event: string): void {
    this.events.push(event);
    for (const look of this.#watching) look();
  }

  /** Resolves when it is so, looked at after every event. */
  async until(isSo: () => boolean): Promise<void> {
    if (isSo()) return;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!isSo()) return;
        this.#watching.delete(look);
        resolve();
      };
      this.#watching.add(look);
    });
  }

  count(event: string): number {
    return this.events.filter((one) => one === event).length;
  }

  handlers(): SerialHandlers {
    const take = (event: string, keep: () => void) => {
      if (this.failure !== undefined) {
        this.tell(`refused ${event}`);
        throw this.failure;
      }
      keep();
      this.tell(event);
    };
    return {
      online: async ({ boot }) => {
        if (this.refusal !== undefined) throw this.refusal;
        this.tell(`online ${boot}`);
      },
      welcomed: () => this.tell('welcomed'),
      offline: async () => this.tell('offline'),
      telemetry: async (series, points) =>
        take(`telemetry ${series}`, () => this.points.push(...points)),
      reported: async (state) =>
        take('reported', () => {
          this.reported = { ...this.reported, ...state };
        }),
      response: async (response) => take('response', () => this.responses.push(response)),
      jobStatus: async ({ job_id, status }) => take(`job ${job_id} ${status}`, () => undefined),
      image: async () => Buffer.alloc(0),
      desired: async () => this.desired,
      failed: () => this.tell('failed'),
      time: () => ({ ts: 1_700_000_000_123, trusted: true }),
    };
  }
}

export interface TestDevice {
  /** Its power is cut, and comes back: another boot. */
  readonly restart: (boot: string) => Promise<void>;
}

export const openSite = async (t: Test, program: string, { intervalMs = 0 } = {}) => {
  const site = new TestSite();
  const terminal = await openPseudoTerminal();
  t.teardown(() => terminal.close());
  const driven = driveLine(
    {
      driver: jsonLines,
      devices: [{ id: 'pump-1', handlers: site.handlers(), settings: undefined }],
    },
    { name: 'pump-1', address: { path: terminal.path }, retryDelayMs: () => 20 },
  );
  t.teardown(() => driven.close());
  const [near] = driven.devices;
  if (near === undefined) throw new Error('no device');
  let child: ChildProcessWithoutNullStreams | undefined;
  terminal.onData((chunk) => child?.stdin.write(site.toDevice(chunk)));
  const start = (boot: string): void => {
    const started = spawn(program, ['pump-1', boot, String(intervalMs), String(speed)]);
    started.stdin.on('error', () => undefined);
    started.stdout.on('data', (chunk: Buffer) => terminal.write(site.toGateway(chunk)));
    createInterface({ input: started.stderr }).on('line', (line) => site.tell(`device ${line}`));
    child = started;
  };
  const end = async (): Promise<void> => {
    const ended = child && once(child, 'close');
    child?.kill('SIGKILL');
    await ended;
  };
  t.teardown(end);
  start('b1');
  driven.open();
  await site.until(() => site.count('welcomed') > 0);
  const device: TestDevice = {
    restart: async (boot) => {
      await end();
      start(boot);
      await site.until(() => site.count(`online ${boot}`) > 0);
    },
  };
  /** To the device, past the gateway. */
  const inject = (text: string): void => void child?.stdin.write(text);
  return { site, near, device, inject };
};
