/**
 * A simulated microcontroller with a boot loader on a line in memory, for tests: its flash, what resets it, and what can go wrong with
 * either. What its loader speaks is given to it, byte by byte.
 */

import type { AvrPart } from '@holdfast/provisioning/firmware/flash/part';
import { PortPair } from '../port/port-pair.js';
import type { Reset } from './resets.js';

/** A loader's program: it waits for a byte with `yield`, and returns where it would start the application. */
export type LoaderProgram = Generator<undefined, void, number>;

export interface SimulatedBoardOptions {
  readonly part: AvrPart;
  readonly program: (board: SimulatedBoard) => LoaderProgram;
  /** What the flash holds at first; the rest is erased. */
  readonly flash?: Uint8Array;
}

export class SimulatedBoard {
  readonly part: AvrPart;
  readonly pair = new PortPair();
  readonly flash: Buffer;
  /** Addresses in the order in which they were written. */
  readonly writes: number[] = [];
  resets = 0;
  /** What it says it is. */
  signature: Buffer;
  /** Told after each erase and each write of a page. */
  onChange: () => void = () => undefined;
  /** Returns what of a byte that came arrives: null loses it. */
  onByte: (byte: number, count: number) => number | null = (byte) => byte;
  /** What of a page that is to be written is written, and where. */
  distort: (address: number, page: Uint8Array) => readonly [number, Uint8Array] = (...as) => as;
  /** A bit of this byte of the flash can't be cleared any more. */
  wornAddress: number | null = null;
  /** What the application prints when it starts. */
  banner = '';
  readonly #program: (board: SimulatedBoard) => LoaderProgram;
  #running: LoaderProgram | null = null;
  #received = 0;

  constructor({ part, program, flash = new Uint8Array() }: SimulatedBoardOptions) {
    this.part = part;
    this.signature = Buffer.from(part.signature, 'hex');
    this.flash = Buffer.alloc(part.flashBytes, 0xff);
    this.flash.set(flash);
    this.#program = program;
    this.pair.far.onBytes((bytes) => {
      for (const byte of bytes) this.#receive(byte);
    });
  }

  /** The reset pin; the loader listens right after. */
  readonly reset: Reset = async () => {
    this.resets += 1;
    this.#running = this.#program(this);
    this.#running.next();
  };

  get isInLoader(): boolean {
    return this.#running !== null;
  }

  say(bytes: Uint8Array | string): void {
    this.pair.far.write(bytes);
  }

  erase(address: number): void {
    this.flash.fill(0xff, address, address + this.part.pageBytes);
    this.onChange();
  }

  /** As flash is: bits are only cleared. */
  write(wanted: number, received: Uint8Array): void {
    const [address, page] = this.distort(wanted, received);
    this.writes.push(address);
    for (const [index, byte] of page.entries()) {
      const held = this.flash[address + index] ?? 0xff;
      this.flash[address + index] = held & byte;
      if (address + index === this.wornAddress) this.flash[address + index] = (held & byte) | 1;
    }
    this.onChange();
  }

  #receive(sent: number): void {
    this.#received += 1;
    const byte = this.onByte(sent, this.#received);
    if (byte === null || this.#running === null) return;
    if (this.#running.next(byte).done !== true) return;
    this.#running = null;
    this.say(this.banner);
  }
}
