/**
 * Atmel's STK500 protocol, version 1, as Arduino's boot loaders speak it: Optiboot, and the older ATmegaBOOT. Nothing in it has a checksum:
 * a garbled byte shows only in what is read back. Source: Atmel's application note AVR061 and the loaders' own sources.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { AvrPart } from '@holdfast/provisioning/firmware/flash/part';
import { wait } from '@holdfast/provisioning/time/wait';
import type { BytePort } from '../port/byte-port.js';
import type { LoaderProtocol } from './loader-protocol.js';
import { avrPartOf, type PageLoaderFacts, pageLoader, silent, synced } from './page-loader.js';
import { PortReader } from './port-reader.js';

export interface Stk500v1Timing {
  /** From the reset to the first knock. */
  readonly startMs: number;
  /** From a knock to the next. */
  readonly knockMs: number;
  /** What a line is silent for when nothing more is on its way. */
  readonly quietMs: number;
  /** The longest that an answer takes. */
  readonly answerMs: number;
}

export const stk500v1With = (timing: Stk500v1Timing): LoaderProtocol => ({
  name: 'stk500v1',
  open: async (port, anyPart, signal) => {
    const part = avrPartOf(anyPart);
    const session = await synced(new Stk500v1Session(port, timing), signal);
    return pageLoader(part, {
      ask: async (asking) => await session.ask(part, asking),
      memory: {
        pageBytes: part.pageBytes,
        writesPages: 'anywhere',
        begin: async () => undefined,
        read: async (address, bytes, reading) => await session.read(address, bytes, reading),
        write: async (address, page, writing) => await session.write(address, page, writing),
      },
      leave: async (leaving) => {
        await session.send([command.leave], 0, leaving);
      },
      close: () => session.close(),
    });
  },
});

export const stk500v1 = stk500v1With({
  // Crystals take up to 65 ms to start.
  startMs: 80,
  // Some loaders flash a LED for up to 0.6 s first and find there only the two or three bytes that a receiver holds, so a knock is two bytes
  // and nothing may follow until they would have answered; and some listen for one second only.
  knockMs: 700,
  // Longer than a byte on the slowest line takes with a USB adapter's pause after it.
  quietMs: 20,
  // A page takes 12 ms at 115,200 baud and 10 ms to write; the rest is for slow adapters.
  answerMs: 2_000,
});

const command = {
  getSync: 0x30,
  getParameter: 0x41,
  leave: 0x51,
  loadAddress: 0x55,
  programPage: 0x64,
  readPage: 0x74,
  readSignature: 0x75,
} as const;
const parameter = { major: 0x81, minor: 0x82 } as const;
const end = 0x20;
const inSync = 0x14;
const ok = 0x10;
const flashMemory = 'F'.charCodeAt(0);

/** Two fit into the second that the shortest window is. */
const knocks = 2;

class Stk500v1Session {
  readonly #port: BytePort;
  readonly #reader: PortReader;
  readonly #timing: Stk500v1Timing;

  constructor(port: BytePort, timing: Stk500v1Timing) {
    this.#port = port;
    this.#timing = timing;
    this.#reader = new PortReader(port);
  }

  async sync(signal: AbortSignal): Promise<void> {
    const { startMs, knockMs } = this.#timing;
    await wait(startMs, signal);
    for (let knock = 0; knock < knocks; knock += 1) {
      this.#reader.drop();
      await this.#port.write(Buffer.from([command.getSync, end]), signal);
      const answered = await this.#reader.until(endsInSync, knockMs, signal);
      if (answered && (await this.#confirm(signal))) return;
    }
    throw silent();
  }

  /** What the old application printed may have looked like an answer; twice it does not, with nothing around it. */
  async #confirm(signal: AbortSignal): Promise<boolean> {
    const { quietMs, knockMs } = this.#timing;
    await this.#reader.quiet(quietMs, 10 * quietMs, signal);
    await this.#port.write(Buffer.from([command.getSync, end]), signal);
    if (!(await this.#reader.until((held) => held.length >= 2, knockMs, signal))) return false;
    const answered = this.#reader.held;
    this.#reader.drop();
    return answered.length === 2 && endsInSync(answered);
  }

  async ask(part: AvrPart, signal: AbortSignal): Promise<PageLoaderFacts> {
    const signature = await this.send([command.readSignature], 3, signal);
    const [major = 0] = await this.send([command.getParameter, parameter.major], 1, signal);
    const [minor = 0] = await this.send([command.getParameter, parameter.minor], 1, signal);
    const isOld = major === atmegabootMajor;
    return {
      signature: signature.toString('hex'),
      loader: `${isOld ? 'ATmegaBOOT' : 'Optiboot'} ${major}.${minor}`,
      bootBytes: isOld ? atmegabootBytes(part) : Math.max(512, ...part.bootBytes.slice(0, 1)),
    };
  }

  async read(address: number, bytes: number, signal: AbortSignal): Promise<Buffer> {
    const read = [command.readPage, bytes >> 8, bytes & 0xff, flashMemory, end];
    await this.#port.write(Buffer.from([...loadAddress(address), ...read]), signal);
    await this.#answer(0, signal);
    return await this.#answer(bytes, signal);
  }

  /** The address and the page go out in one piece: the loader has answered the one before the other's second byte is there. */
  async write(address: number, page: Buffer, signal: AbortSignal): Promise<void> {
    const program = [command.programPage, page.length >> 8, page.length & 0xff, flashMemory];
    const parts = [Buffer.from([...loadAddress(address), ...program]), page, Buffer.from([end])];
    await this.#port.write(Buffer.concat(parts), signal);
    await this.#answer(0, signal);
    await this.#answer(0, signal);
  }

  async send(bytes: readonly number[], answerBytes: number, signal: AbortSignal): Promise<Buffer> {
    this.#reader.drop();
    await this.#port.write(Buffer.from([...bytes, end]), signal);
    return await this.#answer(answerBytes, signal);
  }

  async #answer(bytes: number, signal: AbortSignal): Promise<Buffer> {
    const answer = await this.#reader.read(bytes + 2, this.#timing.answerMs, signal);
    if (answer === null) throw silent();
    if (answer[0] !== inSync || answer[bytes + 1] !== ok) {
      throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'The boot loader answers out of step');
    }
    return answer.subarray(1, -1);
  }

  close(): void {
    this.#reader.close();
  }
}

const endsInSync = (held: Buffer): boolean => held.at(-2) === inSync && held.at(-1) === ok;

/** Flash is addressed in words. */
const loadAddress = (address: number): number[] => {
  const word = address / 2;
  return [command.loadAddress, word & 0xff, word >> 8, end];
};

/** Optiboot began with 2; ATmegaBOOT says 1.16 whatever it is. */
const atmegabootMajor = 1;
/** As Arduino's boards.txt has the fuses; the others take 2 KB. */
const atmegabootBytes = ({ name }: AvrPart): number =>
  name === 'atmega8' ? 1024 : name === 'atmega1280' || name === 'atmega128' ? 4096 : 2048;
