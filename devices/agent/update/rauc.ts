/**
 * RAUC as boot control and image writer, over D-Bus (`de.pengutronix.rauc.Installer`).
 *
 * Spoken through systemd's `busctl`, which is wherever RAUC's service is and gives JSON; the D-Bus libraries of npm have no upkeep that
 * would carry something a device's life hangs on. Errors: `UPDATE_INSTALL_FAILED`, `UPDATE_MANIFEST_INVALID`, `COMMAND_FAILED`,
 * `DEADLINE_EXCEEDED`.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { wait } from '@holdfast/provisioning/time/wait';
import * as v from 'valibot';
import type { BootControl, ImageWriter } from './copies-installer.js';
import { runCommand } from './run-command.js';
import type { Slot, UpdateJob } from './update-state.js';

export interface RaucOptions {
  /** Another bus than the system's. */
  readonly busAddress?: string;
  readonly pollMs?: number;
  readonly callTimeoutMs?: number;
  /** For all that RAUC does to install one bundle, with what it is at before. */
  readonly installTimeoutMs?: number;
}

const service = ['de.pengutronix.rauc', '/', 'de.pengutronix.rauc.Installer'] as const;

const hourMs = 3_600_000;

const text = v.object({ data: v.string() });
const progress = v.object({ data: v.tuple([v.number(), v.string(), v.number()]) });
const info = v.object({ data: v.tuple([v.string(), v.string()]) });
const variant = v.object({ data: v.unknown() });
const slotStatus = v.object({
  data: v.tuple([v.array(v.tuple([v.string(), v.record(v.string(), variant)]))]),
});
const anything = v.unknown();

interface RaucSlot {
  readonly name: string;
  readonly isBooted: boolean;
  /** Of the last installation into it. */
  readonly status: string;
  readonly version: string;
}

export class Rauc implements BootControl, ImageWriter {
  readonly #options: Required<Omit<RaucOptions, 'busAddress'>>;
  readonly #bus: readonly string[];

  constructor(options: RaucOptions = {}) {
    const { busAddress, pollMs = 500, callTimeoutMs = 30_000 } = options;
    this.#options = { pollMs, callTimeoutMs, installTimeoutMs: options.installTimeoutMs ?? hourMs };
    this.#bus = busAddress === undefined ? ['--system'] : [`--address=${busAddress}`];
  }

  async booted(): Promise<Slot> {
    const [a, b] = await this.#copies();
    if (a.isBooted === b.isBooted) throw failed('RAUC does not say which slot is booted');
    return a.isBooted ? 'a' : 'b';
  }

  activate(slot: Slot): Promise<void> {
    return this.#mark('active', slot);
  }

  async confirm(slot: Slot): Promise<void> {
    await this.#mark('good', slot);
    // A machine that was gone back by its boot loader starts it only this once.
    await this.#mark('active', slot);
  }

  reject(slot: Slot): Promise<void> {
    return this.#mark('bad', slot);
  }

  async version(): Promise<string> {
    const [a, b] = await this.#copies();
    return (a.isBooted ? a : b).version;
  }

  async inspect(image: string, { version }: UpdateJob, signal: AbortSignal): Promise<void> {
    const [compatible, found] = (await this.#call(info, signal, 'Info', 's', image)).data;
    const own = (await this.#property(text, 'Compatible', signal)).data;
    if (compatible !== own) {
      throw invalid(`The bundle is for ${compatible}, this device is ${own}`);
    }
    if (found !== version) throw invalid(`The bundle holds version ${found}, not ${version}`);
  }

  write(
    image: string,
    slot: Slot,
    onProgress: (percent: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const doing = 'the installation by RAUC';
    return withDeadline(
      (within) => this.#write(image, slot, onProgress, within),
      this.#options.installTimeoutMs,
      { signal, doing },
    );
  }

  async #write(
    image: string,
    slot: Slot,
    onProgress: (percent: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    // One that a predecessor of this process began goes on by itself; RAUC can neither end it nor begin a second.
    await this.#idle(() => undefined, signal);
    await this.#call(anything, signal, 'InstallBundle', 'sa{sv}', image, '0');
    await this.#idle(onProgress, signal);
    const error = (await this.#property(text, 'LastError', signal)).data;
    if (error !== '') throw failed(error);
    const [a, b] = await this.#copies();
    const { name, status } = slot === 'a' ? a : b;
    if (status !== 'ok') throw failed(`RAUC says ${status || 'nothing'} of ${name}`);
  }

  async #idle(onProgress: (percent: number) => void, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { data: operation } = await this.#property(text, 'Operation', signal);
      if (operation === 'idle') return;
      onProgress((await this.#property(progress, 'Progress', signal)).data[0]);
      await wait(this.#options.pollMs, signal);
    }
  }

  async #mark(state: 'good' | 'bad' | 'active', slot: Slot): Promise<void> {
    const [a, b] = await this.#copies();
    await this.#call(anything, undefined, 'Mark', 'ss', state, (slot === 'a' ? a : b).name);
  }

  /** The two slots that the boot loader chooses between, by name. */
  async #copies(): Promise<readonly [RaucSlot, RaucSlot]> {
    const { data } = await this.#call(slotStatus, undefined, 'GetSlotStatus');
    const [a, b, third] = data[0]
      .filter(([, fields]) => textOf(fields.bootname) !== '')
      .map(([name, fields]) => ({
        name,
        isBooted: textOf(fields.state) === 'booted',
        status: textOf(fields.status),
        version: textOf(fields['bundle.version']) || 'unknown',
      }))
      .sort((one, other) => (one.name < other.name ? -1 : 1));
    if (a === undefined || b === undefined || third !== undefined) {
      throw failed('RAUC needs two slots with a bootname');
    }
    return [a, b];
  }

  #property<T>(schema: v.GenericSchema<unknown, T>, name: string, signal: AbortSignal): Promise<T> {
    return this.#busctl(schema, signal, 'get-property', ...service, name);
  }

  #call<T>(
    schema: v.GenericSchema<unknown, T>,
    signal: AbortSignal | undefined,
    ...call: readonly string[]
  ): Promise<T> {
    return this.#busctl(schema, signal, 'call', ...service, ...call);
  }

  async #busctl<T>(
    schema: v.GenericSchema<unknown, T>,
    signal: AbortSignal | undefined,
    ...parameters: readonly string[]
  ): Promise<T> {
    const { output } = await runCommand({
      command: ['busctl', '--json=short', ...this.#bus, ...parameters],
      timeoutMs: this.#options.callTimeoutMs,
      maxOutputBytes: 1 << 20,
      signal: signal ?? new AbortController().signal,
    });
    const parsed = v.safeParse(schema, output.trim() === '' ? {} : JSON.parse(output));
    if (parsed.success) return parsed.output;
    throw failed(`RAUC answers ${output.slice(0, 200)}`);
  }
}

const textOf = (field: v.InferOutput<typeof variant> | undefined): string =>
  typeof field?.data === 'string' ? field.data : '';

const failed = (message: string) => new HoldfastError('UPDATE_INSTALL_FAILED', message);
const invalid = (message: string) => new HoldfastError('UPDATE_MANIFEST_INVALID', message);
