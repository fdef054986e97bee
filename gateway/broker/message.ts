/** A message as the broker moves it: what was published, before it is fitted to a subscriber. */

export type QoS = 0 | 1 | 2;

export interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** MQTT 5 properties that are carried through, as they are written in a PUBLISH. */
  readonly properties?: Uint8Array | undefined;
  /** By the broker's elapsed time; undefined: never. */
  readonly expiresAt?: number | undefined;
}

export const minQoS = (a: QoS, b: QoS): QoS => (a < b ? a : b);
