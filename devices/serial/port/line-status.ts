/** How a line is, for people: what is shown of it, and what to do where it is down. */
import type { PortAddress, PortSettings } from './port-settings.js';

/** Why a port can't be had, and what somebody in front of it can do about it. */
export interface PortProblem {
  readonly reason: string;
  /** The next step, word for word; left out where it is to be waited for. */
  readonly next?: string;
}

/** How far whoever has the line for itself is. */
export interface LineProgress {
  /** As `write`. */
  readonly stage: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export type LineState =
  | { readonly state: 'up' }
  | ({ readonly state: 'down' } & PortProblem)
  /** Somebody has it for itself. */
  | { readonly state: 'suspended'; readonly reason: string; readonly progress?: LineProgress };

export interface LineStatus {
  readonly name: string;
  readonly address: PortAddress;
  /** Where it was found last, as `/dev/ttyUSB0`; null where it never was. */
  readonly path: string | null;
  readonly settings: PortSettings;
  readonly state: LineState;
  /** Since when it is in this state, epoch ms. */
  readonly since: number;
  /** How often it came up since the start. */
  readonly opened: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}
