/**
 * What stands on the front of a gateway: lights that say how it is, and buttons that have it begin anew. A line that cannot be had is told
 * and tried again; nothing else of the gateway waits for it.
 */
import type { Edge, GpioLines, LineAddress } from '@holdfast/devices/gpio/gpio-lines';
import { openGpio } from '@holdfast/devices/gpio/open-gpio';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import { type ButtonState, nextButton } from './button.js';
import { blinkOf, type GatewayState, lightOf } from './light.js';

export const panelRoles = ['status-led', 'restart-button'] as const;
export type PanelRole = (typeof panelRoles)[number];

export interface PanelLine extends LineAddress {
  readonly name: string;
  readonly role: PanelRole;
}

export interface PanelDeps {
  readonly gpio: GpioLines;
  /** How the gateway is now. */
  readonly state: () => GatewayState;
  /** A button was held; `name` is its line's. */
  readonly restart: (name: string) => void;
  /** Ms that never run back. */
  readonly monotonic: () => number;
  readonly log: StoreLog;
  readonly wait?: Wait;
}

/** A line as people are shown it. */
export interface PanelLineState {
  readonly name: string;
  readonly role: PanelRole;
  /** Why it does not work; null while it does. */
  readonly problem: string | null;
}

export interface OpenPanelDeps extends Pick<PanelDeps, 'state' | 'log'> {
  readonly clock: { monotonic(): number };
  readonly gpio?: GpioLines;
  readonly beginAnew?: () => void;
}

/** Opens nothing yet. CONFIGURATION_INVALID when two names have one line. */
export const openPanel = (
  { clock, gpio = openGpio(), beginAnew, ...deps }: OpenPanelDeps,
  { lines }: { readonly lines: readonly PanelLine[] },
): Panel => {
  const taken = new Set<string>();
  for (const { chip, line } of lines) {
    const address = `${chip} ${line}`;
    if (taken.has(address)) {
      throw new HoldfastError('CONFIGURATION_INVALID', `gpio.lines: ${address} is named twice`);
    }
    taken.add(address);
  }
  return new Panel(
    {
      ...deps,
      gpio,
      monotonic: () => clock.monotonic(),
      restart: () => (beginAnew ?? (() => process.kill(process.pid, 'SIGTERM')))(),
    },
    { lines },
  );
};

const lookEveryMs = 1_000;
const retryAfterMs = 10_000;

export class Panel {
  readonly #deps: PanelDeps;
  readonly #wait: Wait;
  readonly #lines: readonly PanelLine[];
  readonly #problems = new Map<PanelLine, string>();
  readonly #closing = new AbortController();
  #running: Promise<void>[] = [];

  constructor(deps: PanelDeps, { lines }: { readonly lines: readonly PanelLine[] }) {
    this.#deps = deps;
    this.#wait = deps.wait ?? waitFor;
    this.#lines = lines;
  }

  open(): void {
    this.#running = this.#lines.map((line) =>
      this.#keep(line, () => (line.role === 'status-led' ? this.#shine(line) : this.#watch(line))),
    );
  }

  /** Gives the lines back: the lights go out. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
  }

  states(): PanelLineState[] {
    return this.#lines.map((line) => ({
      name: line.name,
      role: line.role,
      problem: this.#problems.get(line) ?? null,
    }));
  }

  async #keep(line: PanelLine, work: () => Promise<void>): Promise<void> {
    while (!this.#isClosing) {
      try {
        await work();
      } catch (error) {
        if (this.#isClosing) return;
        this.#failed(line, error);
      }
      await this.#wait(retryAfterMs, this.#closing.signal).catch(() => undefined);
    }
  }

  async #shine(line: PanelLine): Promise<void> {
    const output = this.#deps.gpio.output(line);
    try {
      for (let isOn = true; ; isOn = !isOn) {
        const blinkMs = blinkOf(lightOf(this.#deps.state()));
        if (blinkMs === null) isOn = true;
        await output.set(isOn);
        this.#works(line);
        await this.#wait(blinkMs ?? lookEveryMs, this.#closing.signal);
      }
    } finally {
      await output.close();
    }
  }

  async #watch(line: PanelLine): Promise<void> {
    const { gpio, monotonic, restart, log } = this.#deps;
    let button: ButtonState = null;
    const look = ({ isOn, agoMs }: Edge): void => {
      const decided = nextButton(button, isOn, monotonic() - agoMs);
      button = decided.state;
      if (!decided.isHeld) return;
      log.info({ button: line.name }, 'a button was held: the gateway begins anew');
      restart(line.name);
    };
    const input = gpio.watch(line, { edges: (edges) => edges.forEach(look) });
    const { signal } = this.#closing;
    const closed = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      await Promise.race([closed, input.failed, input.ready]);
      if (!signal.aborted) this.#works(line);
      await Promise.race([closed, input.failed]);
    } finally {
      await input.close();
    }
  }

  #works(line: PanelLine): void {
    if (!this.#problems.delete(line)) return;
    this.#deps.log.info({ line: line.name, chip: line.chip }, 'a GPIO line works again');
  }

  #failed(line: PanelLine, error: unknown): void {
    const isNews = !this.#problems.has(line);
    this.#problems.set(line, messageOf(error));
    if (!isNews) return;
    const next = isHoldfastError(error) ? error.data.next : undefined;
    this.#deps.log.warn(
      { err: error, line: line.name, chip: line.chip, ...(next !== undefined && { next }) },
      'a GPIO line does not work; it is tried again',
    );
  }

  get #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }
}
