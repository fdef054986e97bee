/**
 * An open port in the hands of one holder: bytes in, bytes out, the modem lines, and word of its end. Drivers, boot loaders' clients and
 * Modbus work on nothing else, so that a port can be a UART, one end of a pair in memory, or lent out by a line.
 */
import type { PortSettings } from './port-settings.js';

export interface BytePort {
  /**
   * One listener at a time; null: what arrives is dropped. Nothing more is read before what the listener returned is resolved, and one
   * that throws or rejects ends the port. The bytes are the listener's to keep.
   */
  onBytes(listener: BytesListener | null): void;
  /** Resolves when the port took them; the far end may still never read them. SERIAL_LINE_DOWN, SERIAL_LINE_BUSY; rejects with the signal's reason. */
  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Resolves when what was written has left. SERIAL_LINE_DOWN. */
  drain(): Promise<void>;
  /** While open. SERIAL_LINE_DOWN, or SERIAL_SETTINGS_REFUSED where the port can't. */
  change(settings: Partial<PortSettings>): Promise<void>;
  /** What is left out stays as it is; both are on when a port opens. False where the port has none, as a pseudo-terminal. SERIAL_LINE_DOWN. */
  setModemLines(lines: ModemLines): Promise<boolean>;
  /** Resolves with the reason when the port is gone, or was taken from its holder. Never rejects. */
  readonly gone: Promise<string>;
}

export type BytesListener = (bytes: Buffer) => void | Promise<void>;

export interface ModemLines {
  readonly dtr?: boolean;
  readonly rts?: boolean;
}

/** In the hands of whoever opened it. */
export interface OpenPort extends BytePort {
  /** Ends the port with a reason, as its unplugging would. */
  fail(reason: string): void;
  /** Resolves within a second, whatever the port does. Idempotent. */
  close(): Promise<void>;
}

/** Rejects with what the system says (`EACCES`, `EBUSY`, …). */
export type PortOpener = (path: string, settings: PortSettings) => Promise<OpenPort>;
