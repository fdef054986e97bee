/**
 * For tests: a board on a line in memory, whose DTR is wired to its reset. Its boot loader is the simulated MCUboot; its application is the
 * simulated serial device, of the version of the image, unless the image is one that says nothing, or something else.
 */

import { buildMcubootImage } from '@holdfast/provisioning/firmware/flash/test-mcuboot-image';
import {
  SimulatedMcuboot,
  type SimulatedMcubootOptions,
  type SimulatedSlot,
} from '../../serial/flash/smp/simulated-mcuboot.js';
import { PortPair } from '../../serial/port/port-pair.js';
import { SimulatedSerialDevice } from '../../simulator/simulated-serial-device.js';

export type BoardImage = 'good' | 'mute' | 'lying';

/** Of any version; `mute` says no hello, `lying` one with another version. */
export const boardImage = (version: string, kind: BoardImage = 'good', bytes = 3_000): Buffer => {
  const body = Buffer.alloc(bytes, `${kind} ${version}, `);
  return buildMcubootImage({ version, body });
};

export interface SimulatedBoardOptions extends SimulatedMcubootOptions {
  readonly id: string;
  readonly model?: string;
  readonly slot?: SimulatedSlot;
  readonly telemetryIntervalMs?: number;
}

export const boardPart = 'nrf52840';

export class SimulatedBoard {
  readonly pair = new PortPair();
  readonly mcuboot: SimulatedMcuboot;
  /** What runs, once the boot loader has started it. */
  application: SimulatedSerialDevice | null = null;
  readonly #options: SimulatedBoardOptions;

  constructor(options: SimulatedBoardOptions) {
    this.#options = options;
    const { far } = this.pair;
    this.mcuboot = new SimulatedMcuboot(
      {
        write: (bytes) => far.write(bytes),
        start: (version, board) => this.#start(version, board),
        ...(options.slot !== undefined && { flash: options.slot }),
      },
      { windowMs: 30, ...options },
    );
    far.onBytes((bytes) => this.mcuboot.receive(bytes));
    let wasOn = true;
    far.onModemLines(({ dtr }) => {
      if (dtr && !wasOn) this.mcuboot.reset();
      wasOn = dtr;
    });
  }

  powerOn(): void {
    this.mcuboot.reset();
  }

  powerOff(): void {
    this.mcuboot.powerOff();
  }

  #start(
    version: string,
    board: { write(bytes: Buffer): void; reset(toBootLoader: boolean): void },
  ): { receive(bytes: Buffer): void; stop(): void } {
    const kind = this.mcuboot.slot.bytes.subarray(512, 517).toString('latin1').trim();
    if (kind === 'mute') return { receive: () => undefined, stop: () => undefined };
    let deliver: (bytes: Buffer) => void = () => undefined;
    const { id, model = 'pump', telemetryIntervalMs = 60_000 } = this.#options;
    const application = new SimulatedSerialDevice(
      {
        line: {
          write: (text) => board.write(Buffer.from(text)),
          onData: (listener) => {
            deliver = listener;
          },
        },
      },
      {
        ...{ id, model, telemetryIntervalMs, resendAfterMs: 200 },
        version: kind === 'lying' ? '0.0.1' : version,
      },
    );
    application.open();
    this.application = application;
    return {
      receive: (bytes) => {
        if (bytes.includes('{"t":"bootloader"}')) board.reset(true);
        else deliver(bytes);
      },
      stop: () => {
        application.close();
        this.application = null;
      },
    };
  }
}
