/**
 * Asks an SMP server and waits for its answer, one request at a time. Lost or garbled answers are asked for again: every request that is
 * used here may be repeated (an upload's next offset is the answer's to say).
 *
 * Errors: `DEADLINE_EXCEEDED` (no answer), `SERIAL_LINE_DOWN`, `FLASH_REFUSED` (an answer that says no; `data.rc`).
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { decode, encode } from 'cborg';
import type { BytePort } from '../../port/byte-port.js';
import { encodePacket, PacketDecoder } from './smp-framing.js';

/** Zephyr's numbers of the groups and their commands. */
export const smpCommands = {
  echo: { group: 0, id: 0 },
  reset: { group: 0, id: 5 },
  parameters: { group: 0, id: 6 },
  imageState: { group: 1, id: 0 },
  imageUpload: { group: 1, id: 1 },
  slotInfo: { group: 1, id: 6 },
} as const;

export type SmpCommand = keyof typeof smpCommands;

export interface SmpRequest {
  readonly command: SmpCommand;
  readonly write?: boolean;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly timeoutMs: number;
  /** Attempts in all. */
  readonly attempts?: number;
}

export type SmpAnswer = Readonly<Record<string, unknown>>;

export const headerBytes = 8;
const readOperation = 0;
const writeOperation = 2;

interface Waiting {
  readonly sequence: number;
  readonly command: SmpCommand;
  readonly answer: (body: SmpAnswer) => void;
  /** It came, and could not be read. */
  readonly garbled: () => void;
}

export class SmpClient {
  readonly #port: BytePort;
  readonly #gone: Promise<never>;
  readonly #decoder = new PacketDecoder();
  #sequence = 0;
  #waiting: Waiting | null = null;

  constructor(port: BytePort) {
    this.#port = port;
    this.#gone = port.gone.then((reason) => {
      throw new HoldfastError('SERIAL_LINE_DOWN', reason);
    });
    this.#gone.catch(() => undefined);
  }

  /** Listens from here on; what was said before is dropped. */
  open(): void {
    this.#port.onBytes((bytes) => {
      const { garbled } = this.#decoder;
      const packets = this.#decoder.push(bytes);
      if (this.#decoder.garbled > garbled) this.#waiting?.garbled();
      for (const packet of packets) this.#receive(packet);
    });
  }

  close(): void {
    this.#port.onBytes(null);
  }

  async ask(request: SmpRequest, signal: AbortSignal): Promise<SmpAnswer> {
    const { attempts = 1 } = request;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return refuseErrors(request.command, await this.#attempt(request, signal));
      } catch (error) {
        signal.throwIfAborted();
        if (attempt >= attempts || !isHoldfastError(error, 'DEADLINE_EXCEEDED')) throw error;
      }
    }
  }

  async #attempt(
    { command, write = false, body = {}, timeoutMs }: SmpRequest,
    signal: AbortSignal,
  ): Promise<SmpAnswer> {
    this.#sequence = (this.#sequence + 1) & 0xff;
    const sequence = this.#sequence;
    const packet = buildPacket(
      { ...smpCommands[command], operation: write ? writeOperation : readOperation, sequence },
      body,
    );
    const answered = new Promise<SmpAnswer>((answer, reject) => {
      const garbled = () =>
        reject(new HoldfastError('DEADLINE_EXCEEDED', 'Its answer was garbled'));
      this.#waiting = { sequence, command, answer, garbled };
    });
    answered.catch(() => undefined);
    try {
      // As a function: work that begins after its signal was aborted rejects to nobody.
      const work = async () => {
        await this.#port.write(encodePacket(packet), signal);
        return Promise.race([answered, this.#gone]);
      };
      const doing = `the boot loader's answer to ${command}`;
      return await withDeadline(work, timeoutMs, { signal, doing });
    } finally {
      this.#waiting = null;
    }
  }

  #receive(packet: Buffer): void {
    const waiting = this.#waiting;
    const received = parsePacket(packet);
    if (waiting === null || received === null) return;
    const { group, id } = smpCommands[waiting.command];
    const isIt =
      received.sequence === waiting.sequence && received.group === group && received.id === id;
    if (isIt && isAnswer(received.operation)) waiting.answer(received.body);
  }
}

const isAnswer = (operation: number): boolean =>
  operation === readOperation + 1 || operation === writeOperation + 1;

export interface SmpHeader {
  readonly operation: number;
  readonly group: number;
  readonly id: number;
  readonly sequence: number;
}

export const buildPacket = (
  { operation, group, id, sequence }: SmpHeader,
  body: Readonly<Record<string, unknown>>,
): Buffer => {
  const payload = encode(body);
  const packet = Buffer.alloc(headerBytes + payload.length);
  packet.writeUInt8(operation, 0);
  packet.writeUInt16BE(payload.length, 2);
  packet.writeUInt16BE(group, 4);
  packet.writeUInt8(sequence, 6);
  packet.writeUInt8(id, 7);
  packet.set(payload, headerBytes);
  return packet;
};

/** Null for what is no packet of SMP. */
export const parsePacket = (packet: Buffer): (SmpHeader & { readonly body: SmpAnswer }) | null => {
  if (packet.length < headerBytes) return null;
  const length = packet.readUInt16BE(2);
  if (packet.length < headerBytes + length) return null;
  const body = parseBody(packet.subarray(headerBytes, headerBytes + length));
  if (body === null) return null;
  return {
    // The bits above are the version of SMP and reserved.
    operation: packet.readUInt8(0) & 0x07,
    group: packet.readUInt16BE(4),
    sequence: packet.readUInt8(6),
    id: packet.readUInt8(7),
    body,
  };
};

const parseBody = (payload: Buffer): SmpAnswer | null => {
  try {
    // Indefinite lengths are what small encoders write.
    const value: unknown = payload.length === 0 ? {} : decode(payload);
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isMap && !(value instanceof Uint8Array) ? (value as SmpAnswer) : null;
  } catch {
    return null;
  }
};

/** What the numbers mean, and what there is to do about it. */
const refusals: Readonly<Record<number, string>> = {
  1: 'unknown error: its log says more',
  2: 'it is out of memory: the packet is too large for it',
  3: 'invalid value: the image is too large for its slot, or its flash cannot be erased',
  5: 'no such image or slot',
  6: 'it took too long',
  7: 'it is in no state for that',
  8: 'it does not support that',
  9: 'its answer would be too long',
  10: 'it is busy',
  11: 'not allowed',
};

const refuseErrors = (command: SmpCommand, answer: SmpAnswer): SmpAnswer => {
  const rc = codeOf(answer);
  if (rc === 0) return answer;
  const why = refusals[rc] ?? 'an error of its own';
  throw new HoldfastError(
    'FLASH_REFUSED',
    `The boot loader refuses ${command}: ${why} (rc ${String(rc)})`,
    {
      data: { command, rc },
    },
  );
};

/** `rc`, or in the second version of SMP `err: {group, rc}`. */
const codeOf = ({ rc, err }: SmpAnswer): number => {
  if (typeof rc === 'number') return rc;
  if (typeof err !== 'object' || err === null || !('rc' in err)) return 0;
  return typeof err.rc === 'number' ? err.rc : 1;
};
