/**
 * STK500 version 2 as the boot loader of the Arduino Mega 2560 speaks it. It erases one page with each it writes, in their order from page
 * 0 whatever the address (stk500boot.c, `eraseAddress`), so a run of writes begins at page 0 and leaves none out.
 * Source: Atmel's application note AVR068 and the loader's own source.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import type { BytePort } from '../port/byte-port.js';
import type { LoaderProtocol } from './loader-protocol.js';
import { avrPartOf, type PageLoaderFacts, pageLoader, silent, synced } from './page-loader.js';
import { PortReader } from './port-reader.js';
import { decodeMessage, encodeMessage } from './stk500v2-message.js';

export interface Stk500v2Timing {
  /** From the reset to the first knock. */
  readonly startMs: number;
  /** From a knock to the next. */
  readonly knockMs: number;
  /** The longest that an answer takes. */
  readonly answerMs: number;
}

export const stk500v2With = (timing: Stk500v2Timing): LoaderProtocol => ({
  name: 'stk500v2',
  open: async (port, anyPart, signal) => {
    const part = avrPartOf(anyPart);
    const session = await synced(new Stk500v2Session(port, timing), signal);
    return pageLoader(part, {
      ask: async (asking) => await session.ask(asking),
      memory: {
        pageBytes: part.pageBytes,
        writesPages: 'from the start',
        begin: async (beginning) => await session.rewind(beginning),
        read: async (address, bytes, reading) => await session.read(address, bytes, reading),
        write: async (address, page, writing) => await session.write(address, page, writing),
      },
      leave: async (leaving) => {
        await session.send([command.leave, 1, 1], leaving);
      },
      close: () => session.close(),
    });
  },
});

export const stk500v2 = stk500v2With({
  // Crystals take up to 65 ms to start.
  startMs: 80,
  // It listens for about a second after a reset, and any byte keeps it.
  knockMs: 200,
  // A page takes 25 ms at 115,200 baud and 10 ms to write; the rest is for slow adapters.
  answerMs: 2_000,
});

const command = {
  signOn: 0x01,
  getParameter: 0x03,
  loadAddress: 0x06,
  leave: 0x11,
  chipErase: 0x12,
  programFlash: 0x13,
  readFlash: 0x14,
  spiMulti: 0x1d,
} as const;
const parameter = { major: 0x91, minor: 0x92 } as const;
const statusOk = 0x00;
/** What a programmer would say to the chip; loaders skip it. Mode, delay, three commands, two poll values. */
const programHeader = [0xc1, 10, 0x40, 0x4c, 0x20, 0, 0];
const readCommand = 0x20;
/** Stk500boot's section; the fuses of the Mega 2560 give it as much. */
const bootBytes = 8192;

const knocks = 5;

class Stk500v2Session {
  readonly #port: BytePort;
  readonly #reader: PortReader;
  readonly #timing: Stk500v2Timing;
  #sequence = 0;
  /** What the loader goes on from: it counts along. */
  #address: number | null = null;

  constructor(port: BytePort, timing: Stk500v2Timing) {
    this.#port = port;
    this.#timing = timing;
    this.#reader = new PortReader(port);
  }

  async sync(signal: AbortSignal): Promise<void> {
    const { startMs, knockMs } = this.#timing;
    await wait(startMs, signal);
    for (let knock = 0; knock < knocks; knock += 1) {
      const answer = await this.#exchange([command.signOn], knockMs, signal);
      if (answer?.[1] === statusOk) return;
    }
    throw silent();
  }

  async ask(signal: AbortSignal): Promise<PageLoaderFacts> {
    const signature: number[] = [];
    for (const index of [0, 1, 2]) {
      // "Read signature byte" of the serial programming instruction set, four bytes out, four back.
      const answer = await this.send([command.spiMulti, 4, 4, 0, 0x30, 0, index, 0], signal);
      signature.push(answer[5] ?? 0);
    }
    const major = await this.send([command.getParameter, parameter.major], signal);
    const minor = await this.send([command.getParameter, parameter.minor], signal);
    return {
      signature: Buffer.from(signature).toString('hex'),
      loader: `stk500boot ${major[2] ?? 0}.${minor[2] ?? 0}`,
      bootBytes,
    };
  }

  /** Back to page 0 with what it erases next. Erasing the whole chip is what this means elsewhere; loaders refuse it, and rewind. */
  async rewind(signal: AbortSignal): Promise<void> {
    const answer = await this.#exchange(
      [command.chipErase, 0, 0, 0, 0, 0, 0],
      this.#timing.answerMs,
      signal,
    );
    if (answer === null) throw silent();
  }

  async read(address: number, bytes: number, signal: AbortSignal): Promise<Buffer> {
    await this.#goTo(address, signal);
    const asked = [command.readFlash, bytes >> 8, bytes & 0xff, readCommand];
    const answer = await this.send(asked, signal);
    this.#address = address + bytes;
    return answer.subarray(2, 2 + bytes);
  }

  async write(address: number, page: Buffer, signal: AbortSignal): Promise<void> {
    await this.#goTo(address, signal);
    const size = [page.length >> 8, page.length & 0xff];
    await this.send([command.programFlash, ...size, ...programHeader, ...page], signal);
    this.#address = address + page.length;
  }

  async #goTo(address: number, signal: AbortSignal): Promise<void> {
    if (this.#address === address) return;
    const words = Buffer.alloc(4);
    words.writeUInt32BE(address / 2);
    await this.send([command.loadAddress, ...words], signal);
    this.#address = address;
  }

  async send(body: readonly number[], signal: AbortSignal): Promise<Buffer> {
    const answer = await this.#exchange(body, this.#timing.answerMs, signal);
    if (answer === null) throw silent();
    if (answer[1] === statusOk) return answer;
    const message = `The boot loader refuses command 0x${(body[0] ?? 0).toString(16)}`;
    throw new HoldfastError('FLASH_NO_BOOT_LOADER', message, { data: { status: answer[1] } });
  }

  /** The body of the answer to just this message; null: silence. */
  async #exchange(
    body: readonly number[],
    ms: number,
    signal: AbortSignal,
  ): Promise<Buffer | null> {
    this.#sequence = (this.#sequence + 1) % 256;
    this.#reader.drop();
    await this.#port.write(encodeMessage(this.#sequence, Buffer.from(body)), signal);
    const answerIn = (held: Buffer) => {
      const message = decodeMessage(held);
      return message?.sequence === this.#sequence && message.body[0] === body[0] ? message : null;
    };
    const answered = await this.#reader.until((held) => answerIn(held) !== null, ms, signal);
    return answered ? (answerIn(this.#reader.held)?.body ?? null) : null;
  }

  close(): void {
    this.#reader.close();
  }
}
