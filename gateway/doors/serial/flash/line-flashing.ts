/**
 * The lines whose microcontrollers this gateway flashes itself. A job of such a device never goes down its line: it is carried out here, and
 * told to the executions in the words of a device. While its port is up such a device can be reached, whether it says a word or not.
 */
import type { FindResetLine } from '@holdfast/devices/gpio/reset-line';
import type { FlashSettings } from '@holdfast/devices/serial/flash/flash-settings';
import type { LoaderProtocol } from '@holdfast/devices/serial/flash/loader-protocol';
import { loaderProtocols } from '@holdfast/devices/serial/flash/loader-protocols';
import { resetOf } from '@holdfast/devices/serial/flash/resets';
import type { LineState } from '@holdfast/devices/serial/port/line-status';
import type { PortSettings } from '@holdfast/devices/serial/port/port-settings';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Device } from '../../../devices/device.js';
import type { SiteStore } from '../../../store/site-store.js';
import type { Updates } from '../../../updates/updates.js';
import { FlashByHand, type FlashByHandDeps } from './flash-by-hand.js';
import { runOf } from './flash-machine.js';
import { FlashReports } from './flash-reports.js';
import { type Flash, type FlashState, isSameRun, type LineImage } from './flash-state.js';
import { type FlashStanding, FlashTasks, type FlashTasksDeps } from './flash-tasks.js';
import { LineFlasher } from './line-flasher.js';
import { LineImages, type LineImagesDeps } from './line-images.js';
import { LineWatch } from './line-watch.js';

export interface LineFlashingDeps {
  readonly site: SiteStore;
  readonly updates: Pick<
    Updates,
    | 'executionsOf'
    | 'executionOf'
    | 'report'
    | 'mayBegin'
    | 'refusalOf'
    | 'reachabilityChanged'
    | 'whyStopped'
  >;
  readonly devices: { get(device: string): Device | undefined };
  readonly firmware: LineImagesDeps['firmware'];
  readonly releases: FlashByHandDeps['releases'];
  /** Both throw when nothing of the device, or of anybody, is taken. */
  readonly fence: { check(): void };
  readonly lifecycles: { check(device: string): void };
  /** A line that is wired to a reset pin, by the name that the configuration has for it. */
  readonly findResetLine: FindResetLine;
  readonly clock: Clock;
  readonly log: StoreLog;
  /** In place of those of the real boot loaders: for tests. */
  readonly loader?: LoaderProtocol;
}

export interface LineFlashingOptions {
  /** How often it asks again whether it may begin. */
  readonly askEveryMs?: number;
  /** How long an application has to say hello where no campaign says it. */
  readonly proofTimeoutMs?: number;
}

/** A line that the gateway flashes, as the configuration has it. */
export interface FlashedLine {
  readonly device: string;
  readonly flash: FlashSettings;
  /** As the application is spoken to; its baud rate is the boot loader's too, unless `flash` says otherwise. */
  readonly settings: PortSettings;
}

/** As the local API shows it. */
export interface LineFlashStatus extends FlashStanding {
  readonly phase: Flash['phase'];
  readonly protocol: string;
  readonly part: string;
  /** What is written, or was last; null where nothing is. */
  readonly version: string | null;
  /** For whom: a campaign, a person, or the board itself, which would be left with half an image. */
  readonly by: string | null;
  /** What was flashed here and has run since. */
  readonly running: string | null;
}

interface Entry {
  readonly line: FlashedLine;
  readonly flasher: LineFlasher;
  readonly tasks: FlashTasks;
  readonly watch: LineWatch;
}

export class LineFlashing {
  readonly #deps: LineFlashingDeps;
  readonly #options: Required<LineFlashingOptions>;
  readonly #images: LineImages;
  readonly #hand: FlashByHand;
  readonly #lines = new Map<string, Entry>();

  constructor(deps: LineFlashingDeps, options: LineFlashingOptions = {}) {
    this.#deps = deps;
    this.#options = { askEveryMs: 5_000, proofTimeoutMs: 60_000, ...options };
    this.#images = new LineImages({
      firmware: deps.firmware,
      refusal: (image) => deps.releases.refusal(image),
    });
    this.#hand = new FlashByHand(deps);
  }

  /** Takes on a line, before `load`. CONFIGURATION_INVALID for a reset line that there is none of. */
  add(line: FlashedLine, port: FlashTasksDeps['line']): void {
    const { device, flash, settings } = line;
    const { site, updates, findResetLine, clock, log } = this.#deps;
    const watch = new LineWatch();
    const tasks = new FlashTasks(
      {
        line: port,
        watch,
        reports: new FlashReports({ executions: updates, log }, device),
        images: this.#images,
        loader: this.#deps.loader ?? loaderProtocols[flash.protocol],
        reset: resetOf(flash, { findResetLine, line: settings }),
        refusal: (state) => this.#refusal(device, state),
        mayBegin: (state) => this.#mayBegin(device, state),
        running: () => this.#runningOf(device),
        forbidden: () => this.#forbidden(device),
      },
      {
        part: partNamed(flash.protocol, flash.part),
        baudRate: flash.baudRate ?? settings.baudRate,
        proofTimeoutMs: (state) => this.#proofTimeoutMs(device, state),
        askEveryMs: this.#options.askEveryMs,
      },
    );
    const flasher = new LineFlasher(
      { site, executions: updates, tasks, now: () => clock.now(), log },
      device,
    );
    this.#lines.set(device, { line, flasher, tasks, watch });
  }

  /** Takes up what is on disk, before anybody asks for it. */
  async load(): Promise<void> {
    await Promise.all(this.#entries.map(({ flasher }) => flasher.load()));
  }

  /** Goes on with what is open. */
  open(): void {
    for (const { flasher } of this.#entries) flasher.open();
  }

  /** Lets go of every line; the next start goes on. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.#entries.map(({ flasher }) => flasher.close()));
  }

  /** The part on the line of a device that is flashed here. */
  readonly partOf = (device: string): string | undefined =>
    this.#lines.get(device)?.line.flash.part;

  /** Something about the executions of a device is another; false where it is not flashed here. */
  readonly told = (device: string): boolean => {
    const entry = this.#lines.get(device);
    entry?.flasher.told();
    return entry !== undefined;
  };

  /** Its port is up: that is all it takes to change it. */
  readonly isReachable = (device: string): boolean => this.#lines.get(device)?.watch.isUp === true;

  /** What runs in a board, or may have to be written into one yet. */
  readonly isKept = (sha256: string): boolean =>
    this.#entries.some(({ flasher }) =>
      [...flasher.images, this.#runningOf(flasher.device)].some(
        (image) => image?.sha256 === sha256,
      ),
    );

  /** A port came or went. */
  lineChanged(device: string, state: LineState): void {
    const isUp = state.state !== 'down';
    const isNews = this.#lines.get(device)?.watch.set(isUp, isUp ? '' : state.reason) ?? false;
    if (isNews) this.#deps.updates.reachabilityChanged(device);
  }

  /** The application said what it is, and the executions know it. Resolves when that is committed. */
  async hello(device: string, version: string): Promise<void> {
    await this.#lines.get(device)?.flasher.hello(version);
  }

  status(device: string): LineFlashStatus | undefined {
    const entry = this.#lines.get(device);
    if (entry === undefined) return undefined;
    const { flash, running } = entry.flasher.state;
    const { protocol, part } = entry.line.flash;
    return {
      ...entry.tasks.standing,
      ...{ phase: flash.phase, protocol, part },
      version: 'image' in flash ? flash.image.version : null,
      by: byOf(flash),
      running: running?.version ?? null,
    };
  }

  /**
   * A person at the site has a release flashed into a board: one that is here and that the plan trusts; without a version what runs, or ran
   * last. Resolves when it is begun. RESOURCE_NOT_FOUND, RESOURCE_CONFLICT while something else is under way, UPDATE_WINDOW_CLOSED during an emergency stop, and
   * what the release is refused with.
   */
  async flash(
    device: string,
    { version, by }: { readonly version?: string | undefined; readonly by: string },
  ): Promise<LineImage> {
    const entry = this.#lines.get(device);
    if (entry === undefined) {
      throw new HoldfastError(
        'RESOURCE_NOT_FOUND',
        `no line of this gateway has ${device} to flash`,
        {
          data: {
            next: 'give its line "flash" in site.yaml; holdfast --gateway serial list shows which lines there are',
          },
        },
      );
    }
    this.#deps.lifecycles.check(device);
    const stopped = this.#deps.updates.whyStopped();
    if (stopped !== undefined) throw new HoldfastError('UPDATE_WINDOW_CLOSED', stopped);
    const image = this.#hand.wanted(device, {
      ...{ part: entry.line.flash.part, version },
      ran: entry.flasher.state.running,
    });
    const { flash } = entry.flasher.state;
    const isFree = flash.phase === 'idle' || (flash.phase === 'writing' && flash.run === null);
    const isBusy = this.#deps.updates.executionsOf(device).length > 0;
    const taken = new HoldfastError('RESOURCE_CONFLICT', `${device} is being updated already`, {
      data: { next: 'holdfast --gateway serial list' },
    });
    if (!isFree || isBusy) throw taken;
    const run = { kind: 'hand', by, at: this.#deps.clock.now() } as const;
    const after = await entry.flasher.apply({ type: 'offered', run, image });
    // Somebody else may have been a moment earlier.
    const { flash: begun } = after;
    const isOurs = 'image' in begun && begun.image.sha256 === image.sha256;
    if (!isOurs || !isSameRun(runOf(after), run)) throw taken;
    return image;
  }

  get #entries(): Entry[] {
    return [...this.#lines.values()];
  }

  #refusal(device: string, { flash, running }: FlashState): string | undefined {
    if (flash.phase !== 'checking' && flash.phase !== 'waiting') return undefined;
    const { run, image } = flash;
    const refusal =
      run.kind === 'job'
        ? this.#deps.updates.refusalOf(device, run.job)
        : this.#hand.refusal(device, image, { part: this.partOf(device) ?? '', ran: running });
    return refusal && `${refusal.code}: ${refusal.message}`;
  }

  #mayBegin(device: string, { flash }: FlashState): ReturnType<FlashTasksDeps['mayBegin']> {
    if (flash.phase !== 'waiting') return undefined;
    const reason = this.#forbidden(device);
    if (reason !== undefined) return { closed: { opening: null, reason } };
    return flash.run.kind === 'job'
      ? this.#deps.updates.mayBegin(device, flash.run.job)
      : { done: () => undefined };
  }

  /** Why nothing of a device may be begun, whoever wants it. */
  #forbidden(device: string): string | undefined {
    try {
      this.#deps.fence.check();
      this.#deps.lifecycles.check(device);
    } catch (error) {
      return messageOf(error);
    }
    return this.#deps.updates.whyStopped();
  }

  #runningOf(device: string): LineImage | null {
    const known = this.#deps.devices.get(device);
    if (known?.firmwareVersion == null) return null;
    return this.#images.named(known.model, known.firmwareVersion);
  }

  #proofTimeoutMs(device: string, { flash }: FlashState): number {
    const run = 'run' in flash ? flash.run : null;
    const view =
      run?.kind === 'job'
        ? this.#deps.updates.executionsOf(device).find(({ campaign }) => campaign.id === run.job)
        : undefined;
    return view?.campaign.body.policy.confirm_timeout_ms ?? this.#options.proofTimeoutMs;
  }
}

const byOf = (flash: Flash): string | null => {
  if (flash.phase === 'idle') return null;
  if (flash.run === null) return 'the board';
  return flash.run.kind === 'job' ? `campaign ${flash.run.job}` : flash.run.by;
};
