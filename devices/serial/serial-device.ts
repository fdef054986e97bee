/**
 * The gateway's end of the line-JSON protocol: one device on one line, told as the same few device events every door speaks.
 *
 * A frame is acknowledged after its handler resolved, so handlers resolve after their commit. What is wrong with a frame itself is
 * answered `nack`; any other failure gets no answer, so that the device keeps the frame and sends it again. The line may do what its
 * device may: a `hello` with another id is refused.
 */
import { errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { type Checksum, isAsPromised } from './checksum.js';
import {
  type DownFrame,
  encodeFrame,
  type FetchFrame,
  type Hello,
  parseUpFrame,
  type ReceivedFrame,
  type TelemetryFrame,
  type UpFrame,
} from './frames.js';
import type {
  DriverLine,
  DriverLineCounts,
  DriverLineOptions,
  SerialCommand,
  SerialDriver,
  SerialHandlers,
  SerialJob,
  SerialJobStatus,
} from './serial-driver.js';
import { SerialLine } from './serial-line.js';
import { telemetryPoints } from './telemetry-points.js';

export class SerialDevice implements DriverLine {
  readonly #handlers: SerialHandlers;
  readonly #line: SerialLine;
  readonly #deviceId: string;
  readonly #pingAfterMs: number;
  readonly #offlineAfterMs: number;
  #hello: Hello | null = null;
  #heardAt = 0;
  #askedAt = Number.NEGATIVE_INFINITY;
  #watch: NodeJS.Timeout | null = null;
  #refusedLines = 0;
  /** Presence is told in order, one after the other. */
  #presence: Promise<void> = Promise.resolve();

  constructor(handlers: SerialHandlers, options: DriverLineOptions) {
    this.#handlers = handlers;
    this.#deviceId = options.deviceId;
    this.#pingAfterMs = options.pingAfterMs ?? 15_000;
    this.#offlineAfterMs = options.offlineAfterMs ?? 45_000;
    this.#line = new SerialLine(
      {
        up: () => {
          this.#askedAt = Number.NEGATIVE_INFINITY;
          this.#handlers.line(true, '');
          this.#ask();
        },
        down: (reason) => {
          this.#handlers.line(false, reason);
          this.#leave(reason);
        },
        line: (text) => this.#receive(text),
      },
      options,
    );
  }

  get isOnline(): boolean {
    return this.#hello !== null;
  }

  get counts(): DriverLineCounts {
    return { ...this.#line.counts, refusedLines: this.#refusedLines };
  }

  open(): void {
    this.#watch ??= setInterval(() => this.#look(), this.#pingAfterMs / 3);
    this.#line.open();
  }

  async close(): Promise<void> {
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
    await this.#line.close();
    await this.#presence;
  }

  /** Resolves when the line took it. That the device has it, only its response says: send again after the next `online`. */
  async sendCommand(command: SerialCommand): Promise<void> {
    await this.#send({ t: 'command', ...command });
  }

  /** What is desired and not reported yet; lost ones are made good by the device's next `get`. */
  async sendDelta(state: JsonObject, version: number): Promise<void> {
    await this.#send({ t: 'delta', state, version });
  }

  /** An update for the device; it fetches the image when it wants to. */
  async sendJob(job: SerialJob): Promise<void> {
    await this.#send({ t: 'job', ...job });
  }

  /** Takes nothing more of the device until its next `hello`, and says why. */
  refuse(error: HoldfastError): void {
    if (this.#hello === null) return;
    this.#nack(null, error);
    this.#leave(error.message);
  }

  async #receive(line: string): Promise<void> {
    const received = parseUpFrame(line);
    if (received === null || !this.#isProtected(received)) {
      this.#refusedLines += 1;
      return;
    }
    this.#heardAt = performance.now();
    const { frame } = received;
    if (frame.t === 'hello') await this.#welcome(frame);
    else if (this.#hello === null) {
      this.#refusedLines += 1;
      this.#ask();
    } else await this.#answer(frame);
  }

  /** As the last hello promised; one that promises CRC-32 has it itself. */
  #isProtected({ frame, checksum }: ReceivedFrame<UpFrame>): boolean {
    const own = frame.t === 'hello' && frame.crc === 32 ? 32 : false;
    return isAsPromised(checksum, this.#checksum) && isAsPromised(checksum, own);
  }

  async #welcome(hello: Hello): Promise<void> {
    if (!(this.#handlers.accepts?.(hello.id) ?? hello.id === this.#deviceId)) {
      this.#refusedLines += 1;
      const message = `This line belongs to ${this.#deviceId}`;
      this.#reply({ t: 'nack', code: 'NOT_AUTHORISED', message }, hello.crc);
      return;
    }
    this.#hello = hello;
    try {
      await this.#inOrder(() => this.#handlers.online(hello));
    } catch (error) {
      if (isHoldfastError(error) && !error.isRetryable) this.#nack(null, error);
      else this.#handlers.failed(error);
      this.#leave(messageOf(error));
      return;
    }
    // The line may have gone meanwhile.
    if (this.#hello !== hello) return;
    this.#reply({ t: 'welcome', id: hello.id, ...this.#handlers.time() });
    this.#handlers.welcomed();
  }

  async #answer(frame: Exclude<UpFrame, Hello>): Promise<void> {
    switch (frame.t) {
      case 'telemetry':
        return this.#settle(keyed('seq', frame.seq), () => this.#takeTelemetry(frame));
      case 'reported':
        return this.#settle(keyed('ref', frame.ref), () => this.#handlers.reported(frame.state));
      case 'response': {
        const { t: _, ...response } = frame;
        return this.#settle({ command_id: frame.command_id }, () =>
          this.#handlers.response(response),
        );
      }
      case 'get':
        return this.#settle(null, async () => {
          await this.#send({ t: 'desired', ...(await this.#handlers.desired()) });
        });
      case 'job_status': {
        const { t: _, ...status } = frame;
        return this.#settle({ job_id: frame.job_id, status: frame.status }, () =>
          this.#handlers.jobStatus(status),
        );
      }
      case 'fetch':
        return this.#sendImage(frame);
      case 'pong':
        return;
    }
  }

  async #takeTelemetry(frame: TelemetryFrame): Promise<void> {
    const points = telemetryPoints(frame, this.#hello?.boot);
    if (points.length === 0) throw new HoldfastError('REQUEST_INVALID', 'It holds no value');
    await this.#handlers.telemetry(frame.series, points);
  }

  /** As much of what was asked for as the device can take in one line. */
  async #sendImage({ job_id, offset, length }: FetchFrame): Promise<void> {
    try {
      const most = this.#imageRoom(job_id, offset);
      if (most <= 0) {
        throw new HoldfastError('REQUEST_TOO_LARGE', 'No image fits into lines so short');
      }
      const asked = { job_id, offset, length: Math.min(length, most) };
      const bytes = await this.#handlers.image(asked);
      await this.#send({ t: 'image', job_id, offset, data: Buffer.from(bytes).toString('base64') });
    } catch (error) {
      this.#answerFailure({ job_id }, error);
    }
  }

  #imageRoom(job_id: string, offset: number): number {
    const empty = encodeFrame({ t: 'image', job_id, offset, data: '' }, this.#checksum);
    const longest = Math.min(this.#hello?.max_line ?? maxImageLine, maxImageLine);
    return Math.floor((longest - empty.length) / 4) * 3;
  }

  async #settle(key: FrameKey | null, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      if (key !== null) this.#reply({ t: 'ack', ...key });
    } catch (error) {
      this.#answerFailure(key, error);
    }
  }

  #answerFailure(key: FrameKey | null, error: unknown): void {
    if (isFrameAtFault(error)) this.#nack(key, error);
    else this.#handlers.failed(error);
  }

  #nack(key: FrameKey | null, error: HoldfastError): void {
    this.#reply({ t: 'nack', ...key, code: error.code, message: shortMessageOf(error) });
  }

  /** Answers may be lost with the line: the device then sends again. */
  #reply(frame: DownFrame, checksum = this.#checksum): void {
    this.#send(frame, checksum).catch(() => undefined);
  }

  get #checksum(): Checksum {
    return this.#hello?.crc ?? false;
  }

  async #send(frame: DownFrame, checksum = this.#checksum): Promise<void> {
    const text = encodeFrame(frame, checksum);
    const maxLine = this.#hello?.max_line;
    if (maxLine !== undefined && Buffer.byteLength(text) > maxLine) {
      throw new HoldfastError(
        'REQUEST_TOO_LARGE',
        `The device takes lines of ${String(maxLine)} bytes`,
      );
    }
    await this.#line.write(text);
  }

  #ask(): void {
    // A device that talks without having said hello is asked once a second, not once a line.
    const now = performance.now();
    if (now - this.#askedAt < 1_000) return;
    this.#askedAt = now;
    this.#reply({ t: 'who' });
  }

  #look(): void {
    if (!this.#line.isUp) return;
    const silentMs = performance.now() - this.#heardAt;
    if (this.#hello === null) this.#ask();
    else if (silentMs >= this.#offlineAfterMs) this.#leave('it is silent');
    else if (silentMs >= this.#pingAfterMs) this.#reply({ t: 'ping' });
  }

  #leave(reason: string): void {
    if (this.#hello === null) return;
    this.#hello = null;
    this.#inOrder(() => this.#handlers.offline(reason)).catch(this.#handlers.failed);
  }

  #inOrder(work: () => Promise<void>): Promise<void> {
    const told = this.#presence.then(work);
    this.#presence = told.catch(() => undefined);
    return told;
  }
}

export const jsonLines: SerialDriver = {
  name: 'json-lines',
  line: (handlers, options) => new SerialDevice(handlers, options),
};

type FrameKey =
  | { seq: number }
  | { ref: number }
  | { command_id: string }
  | { job_id: string; status?: SerialJobStatus['status'] };

/** The longest line with a part of an image, to devices that say nothing of theirs. */
const maxImageLine = 4_096;

/**
 * Whether the same frame would be refused again. What is the gateway's own failure gets no answer, and neither does a device of a fenced
 * gateway but to its hello, nor one that is disabled: what it says is for the gateway after this one, or for later.
 */
const isFrameAtFault = (error: unknown): error is HoldfastError =>
  isHoldfastError(error) &&
  !error.isRetryable &&
  errorCodes[error.code].http < 500 &&
  error.code !== 'GATEWAY_FENCED' &&
  error.code !== 'DEVICE_DISABLED';

const shortMessageOf = (error: unknown): string => messageOf(error).slice(0, 200);

const keyed = <K extends 'seq' | 'ref'>(key: K, value: number | undefined): FrameKey | null =>
  // The computed key loses its literal type.
  value === undefined ? null : ({ [key]: value } as unknown as FrameKey);
