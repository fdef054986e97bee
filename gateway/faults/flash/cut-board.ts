/** A simulated board with a real boot loader that is cut, and watched all the while: whatever it starts has to be a whole image. */

import { type AvrBoard, openAvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import { wireModemLines } from '@holdfast/devices/simulator/avr-board/modem-lines';
import type { AvrBoardName } from '@holdfast/devices/simulator/avr-board/toolchain';

export interface CutBoardOptions {
  readonly program: string;
  readonly board: AvrBoardName;
  readonly loader: string;
  /** Where the gateway finds its line; its flash lies beside it. */
  readonly link: string;
  /** From the factory, and its bytes. */
  readonly application: string;
  readonly opensReset?: boolean;
  /** Whatever may run. */
  readonly images: readonly Buffer[];
}

export class CutBoard {
  readonly #options: CutBoardOptions;
  #board: AvrBoard | undefined;
  #ended = new AbortController();
  #looking: Promise<void> = Promise.resolve();
  /** What started and was no whole image. */
  readonly halves: string[] = [];

  constructor(options: CutBoardOptions) {
    this.#options = options;
  }

  get now(): AvrBoard {
    if (this.#board === undefined) throw new Error('the board is not there');
    return this.#board;
  }

  /** With its power on. */
  async open(): Promise<void> {
    const { images: _, ...options } = this.#options;
    this.#board = await openAvrBoard({ ...options, flash: this.#flash });
    await wireModemLines(this.#board);
    this.#ended = new AbortController();
    void this.#watch(this.#board, this.#ended.signal);
  }

  /** Its cable is pulled: port and power are gone at once. */
  async unplug(): Promise<void> {
    this.#ended.abort();
    await this.#board?.kill();
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#board?.close();
  }

  /** Resolves when what started up to now was looked at. */
  async looked(): Promise<void> {
    await this.#looking;
  }

  /** Which of the images stands in its flash; -1: none of them, or not all of one. */
  async image(): Promise<number> {
    const flash = await this.now.readFlash();
    return this.#options.images.findIndex((image) => flash.subarray(0, image.length).equals(image));
  }

  get #flash(): string {
    return `${this.#options.link}.flash`;
  }

  async #watch(board: AvrBoard, signal: AbortSignal): Promise<void> {
    let since = 0;
    while (!signal.aborted) {
      const next = await board
        .event(/^(application started|crashed)/, { since, signal })
        .catch(() => undefined);
      if (next === undefined) continue;
      since = board.events.indexOf(next, since) + 1;
      const look = this.image();
      this.#looking = look.then(() => undefined);
      const image = await look;
      // What was written since tells nothing of what it started with.
      const isChanged = board.events.slice(since).some((event) => /^(erased|written)/.test(event));
      if (next.startsWith('crashed') || (image < 0 && !isChanged)) this.halves.push(next);
    }
  }
}
