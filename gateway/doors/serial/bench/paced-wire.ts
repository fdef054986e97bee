/** Two terminals with a wire of a baud rate between them, which pseudo-terminals alone do not have. */
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';

export interface PacedWire {
  /** Its ends, to be opened. */
  readonly ends: readonly [string, string];
  close(): Promise<void>;
}

/** `bits` a character, with start, parity and stop. */
export const openPacedWire = async (baudRate: number, bits: number): Promise<PacedWire> => {
  const [one, other] = await Promise.all([openPseudoTerminal(), openPseudoTerminal()]);
  const characterMs = (1_000 * bits) / baudRate;
  const carry = (write: (bytes: Buffer) => void): ((chunk: Buffer) => void) => {
    let freeAt = 0;
    return (chunk) => {
      freeAt = Math.max(freeAt, performance.now()) + chunk.length * characterMs;
      setTimeout(() => write(chunk), freeAt - performance.now());
    };
  };
  one.onData(carry(other.write));
  other.onData(carry(one.write));
  return {
    ends: [one.path, other.path],
    close: async () => void (await Promise.all([one.close(), other.close()])),
  };
};
