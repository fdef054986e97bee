/** Which run of the device this is: an id drawn anew at every start, and a count within it (proof of boot; telemetry counts once). */
import { randomUUID } from 'node:crypto';

export interface BootPosition {
  readonly boot: string;
  readonly seq: number;
}

export class Boot {
  #id: string = randomUUID();
  #seq = 0;

  get id(): string {
    return this.#id;
  }

  /** The device (for slots: its application) started again. */
  renew(): void {
    this.#id = randomUUID();
    this.#seq = 0;
  }

  /** The position of one more measurement. */
  next(): BootPosition {
    const position = { boot: this.#id, seq: this.#seq };
    this.#seq += 1;
    return position;
  }
}
