/** A line as its driver sees it: a port that comes and goes, and that others may need for themselves for a while. */
import type { BytePort } from './byte-port.js';
import type { PortSettings } from './port-settings.js';

export interface DriverPort {
  /** As the configuration names it, for messages. */
  readonly name: string;
  /** Of its port, where it is one. */
  readonly settings: PortSettings;
  /** Called once, in `attach`; from then on the listener is told, one thing after the other. */
  listen(listener: LineListener): void;
}

/** A line begins down. */
export interface LineListener {
  /** Whether what arrives is an answer that somebody waits for: it is read at once then, however few bytes it is. */
  readonly isDialogue?: boolean;
  /** The port is the driver's: its settings are the line's, nobody spoke on it yet. Set `onBytes` before returning. */
  up(port: BytePort): void;
  /** The port is gone; what was written on it since rejects SERIAL_LINE_DOWN. */
  down(reason: string): void;
  /**
   * Somebody else (flashing) has the port: the device is offline, the line is not. What is written on the port that the driver had
   * rejects SERIAL_LINE_BUSY; what mattered is sent again after the next `up`.
   */
  suspended(reason: string): void;
}
