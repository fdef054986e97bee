/**
 * A device at the far end of a serial line: says hello, measures, obeys, and keeps what was not acknowledged.
 *
 * It is what a microcontroller's firmware would be, so it uses nothing of the gateway's end but the frames.
 */
import { randomUUID } from 'node:crypto';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { type Checksum, isAsPromised } from '../serial/checksum.js';
import { type DownFrame, encodeFrame, parseDownFrame, type UpFrame } from '../serial/frames.js';
import { LineFramer } from '../serial/line-framer.js';
import { SerialUpdater } from './serial-updater.js';
import type { SimulatedFlash } from './simulated-flash.js';

/** The device's end of a line. */
export interface DeviceLine {
  readonly write: (bytes: string) => void;
  readonly onData: (listener: (chunk: Buffer) => void) => void;
}

export interface SimulatedSerialDeviceOptions {
  readonly id: string;
  readonly model?: string;
  readonly version?: string;
  readonly series?: string;
  readonly telemetryIntervalMs?: number;
  /** How long an acknowledgement may take before everything unacknowledged is sent again. */
  readonly resendAfterMs?: number;
  /** What its hello promises; from then on it takes no line that is worse protected. */
  readonly checksum?: Checksum;
}

/** As much as a small device would keep; the oldest goes first, counted in `reported.dropped`. */
const maxUnacknowledged = 500;
const maxInFlight = 8;

export class SimulatedSerialDevice {
  readonly #options: Required<SimulatedSerialDeviceOptions>;
  readonly #framer = new LineFramer({ maxLineBytes: 4_096 });
  readonly #unacknowledged = new Map<number, UpFrame>();
  readonly #responses = new Map<string, UpFrame>();
  readonly #flash: SimulatedFlash | undefined;
  readonly #updater: SerialUpdater | undefined;
  #line: DeviceLine;
  #boot: string = randomUUID();
  #seq = 0;
  #dropped = 0;
  #isOpen = false;
  #isWelcome = false;
  #ticksAlone = 0;
  #settings: JsonObject = {};
  #measuring: NodeJS.Timeout | null = null;
  #resending: NodeJS.Timeout | null = null;

  /** Without a flash it refuses every update. */
  constructor(
    { line, flash }: { readonly line: DeviceLine; readonly flash?: SimulatedFlash },
    options: SimulatedSerialDeviceOptions,
  ) {
    this.#line = line;
    this.#flash = flash;
    this.#updater =
      flash &&
      new SerialUpdater({
        flash,
        say: (frame) => this.#say(frame),
        restart: () => this.#reboot(),
      });
    this.#options = {
      model: 'serial-simulated',
      version: '1.0.0',
      series: 'temperature',
      telemetryIntervalMs: 5_000,
      resendAfterMs: 2_000,
      checksum: 32,
      ...options,
    };
  }

  /** Measurements so far in this run. */
  get measured(): number {
    return this.#seq;
  }

  /** Of them, those that were not acknowledged yet. */
  get waiting(): number {
    return this.#unacknowledged.size;
  }

  open(): void {
    this.#isOpen = true;
    this.attach(this.#line);
    this.#resending ??= setInterval(() => this.#resend(), this.#options.resendAfterMs);
    this.#setInterval(this.#options.telemetryIntervalMs);
  }

  close(): void {
    // What still arrives must not set it going again.
    this.#isOpen = false;
    if (this.#measuring !== null) clearInterval(this.#measuring);
    if (this.#resending !== null) clearInterval(this.#resending);
    this.#measuring = null;
    this.#resending = null;
  }

  /** The line came back, maybe under another name. */
  attach(line: DeviceLine): void {
    this.#line = line;
    this.#framer.reset();
    line.onData((chunk) => {
      for (const text of this.#framer.push(chunk)) {
        const received = parseDownFrame(text);
        if (received === null || !this.#isOpen) continue;
        // Only the gateway's question comes before it knows what was promised.
        const isAsked = received.frame.t === 'who';
        const isProtected = isAsPromised(received.checksum, this.#options.checksum);
        if (isAsked || isProtected) this.#receive(received.frame);
      }
    });
    this.#hello();
  }

  #receive(frame: DownFrame): void {
    switch (frame.t) {
      case 'who':
        this.#hello();
        break;
      case 'welcome':
        this.#isWelcome = true;
        this.#ticksAlone = 0;
        this.#say({ t: 'get' });
        this.#resend();
        break;
      case 'desired':
      case 'delta':
        this.#apply(frame.state);
        break;
      case 'command':
        this.#obey(frame);
        break;
      case 'ack':
      case 'nack':
        if (frame.seq !== undefined) this.#unacknowledged.delete(frame.seq);
        this.#updater?.answered(frame);
        break;
      case 'job':
        if (this.#updater !== undefined) this.#updater.offered(frame);
        else this.#say({ t: 'job_status', job_id: frame.job_id, status: 'rejected' });
        break;
      case 'image':
        this.#updater?.received(frame);
        break;
      case 'ping':
        this.#say({ t: 'pong' });
        break;
      case 'bootloader':
        // Its boot loader hears nobody, and starts what is there.
        this.#reboot();
        break;
    }
  }

  #hello(): void {
    const { id, model } = this.#options;
    const version = this.#flash?.version ?? this.#options.version;
    // The empty line ends whatever noise the far end has collected.
    this.#line.write('\n');
    const crc = this.#options.checksum;
    this.#say({ t: 'hello', id, model, version, boot: this.#boot, ...(crc && { crc }) });
  }

  #apply(desired: JsonObject): void {
    this.#settings = { ...this.#settings, ...desired };
    const seconds = this.#settings.interval_s;
    if (typeof seconds === 'number' && seconds > 0) this.#setInterval(seconds * 1_000);
    this.#say({ t: 'reported', state: { ...this.#settings, dropped: this.#dropped } });
  }

  /** A command that comes again gets the answer it got. */
  #obey(command: Extract<DownFrame, { t: 'command' }>): void {
    const known = this.#responses.get(command.command_id);
    if (known !== undefined) {
      this.#say(known);
      return;
    }
    const { command_id } = command;
    const isKnown = ['ping', 'identify', 'reboot'].includes(command.type);
    const response: UpFrame = isKnown
      ? { t: 'response', command_id, status: 'succeeded', result: { boot: this.#boot } }
      : { t: 'response', command_id, status: 'rejected', error: `unknown: ${command.type}` };
    this.#responses.set(command_id, response);
    const [oldest] = this.#responses.keys();
    if (this.#responses.size > 50 && oldest !== undefined) this.#responses.delete(oldest);
    this.#say(response);
    if (command.type === 'reboot') this.#reboot();
  }

  /** Simulated: memory survives here, so only what makes a boot a boot is new. */
  #reboot(): void {
    this.#updater?.reset();
    this.#boot = randomUUID();
    this.#seq = 0;
    this.#isWelcome = false;
    this.#unacknowledged.clear();
    this.#hello();
  }

  #setInterval(intervalMs: number): void {
    if (this.#measuring !== null) clearInterval(this.#measuring);
    this.#measuring = setInterval(() => this.#measure(), intervalMs);
  }

  #measure(): void {
    const seq = this.#seq;
    this.#seq += 1;
    const value = Math.round((20 + 5 * Math.sin(seq / 20)) * 100) / 100;
    const { series } = this.#options;
    const frame: UpFrame = { t: 'telemetry', series, value, ts: Date.now(), boot: this.#boot, seq };
    this.#unacknowledged.set(seq, frame);
    const [oldest] = this.#unacknowledged.keys();
    if (this.#unacknowledged.size > maxUnacknowledged && oldest !== undefined) {
      this.#unacknowledged.delete(oldest);
      this.#dropped += 1;
    }
    if (this.#isWelcome && this.#unacknowledged.size <= maxInFlight) this.#say(frame);
  }

  #resend(): void {
    if (!this.#isWelcome) {
      this.#ticksAlone += 1;
      // Rarer and rarer: nobody may be there for days.
      const ticks = this.#ticksAlone;
      if ((ticks & (ticks - 1)) === 0 || ticks % 16 === 0) this.#hello();
      return;
    }
    this.#updater?.resend();
    let sent = 0;
    for (const frame of this.#unacknowledged.values()) {
      if (sent >= maxInFlight) break;
      sent += 1;
      this.#say(frame);
    }
  }

  #say(frame: UpFrame): void {
    this.#line.write(encodeFrame(frame, this.#options.checksum));
  }
}
