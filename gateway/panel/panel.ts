/**
 * What stands on the front of a gateway: lights that say how it is, and buttons that have it begin anew or a device join. A line that cannot be had is told
 * and tried again; nothing else of the gateway waits for it.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Edge, GpioLines, LineAddress } from '@holdfast/devices/gpio/gpio-lines';
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { GatewayGpioLine, PanelRole } from '../doors/gpio/gpio-configuration.js';
import { panelRoles } from '../doors/gpio/gpio-configuration.js';
import { type ButtonState, longHold, nextButton, press } from './button.js';
import { blinkOf, type GatewayState, lightOf } from './light.js';

export interface PanelLine extends LineAddress {
  readonly name: string;
  readonly role: PanelRole;
  /** Of a restart button; by default the gateway. */
  readonly restarts?: 'gateway' | 'machine';
}

export interface PanelDeps {
  readonly gpio: GpioLines;
  /** How the gateway is now. */
  readonly state: () => GatewayState;
  /** A restart button was held. */
  readonly restart: (line: PanelLine) => Promise<void>;
  /** A pairing button was pressed; `name` is its line's. */
  readonly pair: (name: string) => Promise<void>;
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

export interface OpenPanelDeps extends Pick<PanelDeps, 'state' | 'log' | 'pair'> {
  readonly clock: { monotonic(): number };
  readonly gpio: GpioLines;
  readonly beginAnew?: () => void;
  /** Restarts the machine, which stops the gateway in good order before; `systemctl reboot`, unless a test has another. */
  readonly restartMachine?: () => Promise<unknown>;
}

/** Opens nothing yet. */
export const openPanel = (
  { clock, beginAnew, restartMachine = reboot, ...deps }: OpenPanelDeps,
  { lines }: { readonly lines: readonly GatewayGpioLine[] },
): Panel => {
  const restartGateway = beginAnew ?? (() => process.kill(process.pid, 'SIGTERM'));
  return new Panel(
    {
      ...deps,
      monotonic: () => clock.monotonic(),
      restart: async ({ restarts }) => {
        try {
          if (restarts === 'machine') return void (await restartMachine());
        } catch (err) {
          const next =
            'let the user of the service restart the machine: gateway/README.md, "The front of the box"';
          deps.log.warn({ err, next }, 'the machine does not restart, so the gateway alone does');
        }
        restartGateway();
      },
    },
    { lines: lines.filter(isPanelLine) },
  );
};

const isPanelLine = (line: GatewayGpioLine): line is GatewayGpioLine & PanelLine =>
  panelRoles.some((role) => role === line.role);

const reboot = () => promisify(execFile)('systemctl', ['reboot'], { timeout: 10_000 });

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
    const { gpio, monotonic, log } = this.#deps;
    const hold = line.role === 'pairing-button' ? press : longHold;
    let button: ButtonState = null;
    const look = ({ isOn, agoMs }: Edge): void => {
      const decided = nextButton(button, isOn, monotonic() - agoMs, hold);
      button = decided.state;
      if (!decided.isHeld) return;
      this.#pressed(line).catch((err: unknown) =>
        log.warn({ err, button: line.name }, 'a button was pressed in vain'),
      );
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

  async #pressed(line: PanelLine): Promise<void> {
    const { log, pair, restart } = this.#deps;
    log.info({ button: line.name, role: line.role }, 'a button was pressed');
    await (line.role === 'pairing-button' ? pair(line.name) : restart(line));
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
