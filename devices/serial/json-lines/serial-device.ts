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
import { type Checksum, isAsPromised } from '../checksum.js';
import {
  type DownFrame,
  encodeFrame,
  type FetchFrame,
  type Hello,
  parseUpFrame,
  protocolVersion,
  type ReceivedFrame,
  type TelemetryFrame,
  type UpFrame,
} from '../frames.js';
import { type FramingCounts, LineFramer } from '../line-framer.js';
import type { BytePort } from '../port/byte-port.js';
import type { LineListener } from '../port/driver-port.js';
import type {
  DriverLine,
  DriverLineCounts,
  SerialCommand,
  SerialHandlers,
  SerialJob,
  SerialJobStatus,
} from '../serial-driver.js';
import { telemetryPoints } from './telemetry-points.js';

export interface SerialDeviceOptions {
  readonly deviceId: string;
  readonly maxLineBytes: number;
  /** Silence after which the device is asked whether it is there. */
  readonly pingAfterMs: number;
  /** Silence after which it counts as offline. */
  readonly offlineAfterMs: number;
}

export class SerialDevice implements DriverLine, LineListener {
  readonly #handlers: SerialHandlers;
  readonly #options: SerialDeviceOptions;
  readonly #framer: LineFramer;
  #port: BytePort | null = null;
  /** Why there is no port. */
  #awayError = new HoldfastError('SERIAL_LINE_DOWN', 'The line was never up');
  #hello: Hello | null = null;
  #heardAt = 0;
  #askedAt = Number.NEGATIVE_INFINITY;
  #watch: NodeJS.Timeout | null = null;
  #refusedLines = 0;
  /** Presence is told in order, one after the other. */
  #presence: Promise<void> = Promise.resolve();

  constructor(handlers: SerialHandlers, options: SerialDeviceOptions) {
    this.#handlers = handlers;
    this.#options = options;
    this.#framer = new LineFramer({ maxLineBytes: options.maxLineBytes });
  }

  get isOnline(): boolean {
    return this.#hello !== null;
  }

  get counts(): DriverLineCounts {
    const { overlongLines, discardedBytes }: FramingCounts = this.#framer.counts;
    return { droppedFrames: overlongLines + this.#refusedLines, discardedBytes };
  }

  up(port: BytePort): void {
    this.#port = port;
    this.#framer.reset();
    port.onBytes((bytes) => this.#take(port, bytes));
    this.#watch ??= setInterval(() => this.#look(), this.#options.pingAfterMs / 3);
    this.#askedAt = Number.NEGATIVE_INFINITY;
    this.#ask();
  }

  down(reason: string): void {
    this.#lose(new HoldfastError('SERIAL_LINE_DOWN', `The line is away: ${reason}`), reason);
  }

  suspended(reason: string): void {
    this.#lose(new HoldfastError('SERIAL_LINE_BUSY', `The line is in use: ${reason}`), reason);
  }

  async close(): Promise<void> {
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

  #lose(error: HoldfastError, reason: string): void {
    this.#port = null;
    this.#awayError = error;
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
    this.#leave(reason);
  }

  /** Nothing to wait for where no line was completed. */
  #take(port: BytePort, bytes: Buffer): Promise<void> | undefined {
    const lines = this.#framer.push(bytes);
    return lines.length === 0 ? undefined : this.#receiveAll(port, lines);
  }

  /** One frame after the other, but for points: those that came together are committed together. */
  async #receiveAll(port: BytePort, lines: readonly string[]): Promise<void> {
    let points: Promise<void>[] = [];
    for (const line of lines) {
      // What a line said before it went is of another connection.
      if (this.#port !== port) break;
      const frame = this.#read(line);
      if (frame === null) continue;
      if (frame.t === 'telemetry' && this.#hello !== null) {
        points.push(this.#answer(frame));
        continue;
      }
      await Promise.all(points);
      points = [];
      await this.#receive(frame);
    }
    await Promise.all(points);
  }

  #read(line: string): UpFrame | null {
    const received = parseUpFrame(line);
    if (received === null || !this.#isProtected(received)) {
      this.#refusedLines += 1;
      return null;
    }
    this.#heardAt = performance.now();
    return received.frame;
  }

  async #receive(frame: UpFrame): Promise<void> {
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
    if (!(this.#handlers.accepts?.(hello.id) ?? hello.id === this.#options.deviceId)) {
      this.#refusedLines += 1;
      const message = `This line belongs to ${this.#options.deviceId}`;
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
    const v = protocolVersion;
    const { id, boot } = hello;
    this.#reply({ t: 'welcome', id, ...this.#handlers.time(), boot, v });
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
      case 'time':
        return this.#reply({ t: 'time', ...this.#handlers.time() });
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
    if (this.#port === null) throw this.#awayError;
    await this.#port.write(Buffer.from(text));
  }

  #ask(): void {
    // A device that talks without having said hello is asked once a second, not once a line.
    const now = performance.now();
    if (now - this.#askedAt < 1_000) return;
    this.#askedAt = now;
    this.#reply({ t: 'who' });
  }

  #look(): void {
    const silentMs = performance.now() - this.#heardAt;
    if (this.#hello === null) this.#ask();
    else if (silentMs >= this.#options.offlineAfterMs) this.#leave('it is silent');
    else if (silentMs >= this.#options.pingAfterMs) this.#reply({ t: 'ping' });
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
