/** What of a microcontroller matters to whoever writes its flash. */

/** What its boot loader speaks. */
export type LoaderProtocolName = 'stk500v1' | 'stk500v2' | 'mcuboot-smp';

/** An AVR, as avrdude names it. */
export interface AvrPart {
  readonly family: 'avr';
  readonly name: string;
  /** The three bytes that the loader says the part is, in hexadecimal. */
  readonly signature: string;
  readonly flashBytes: number;
  /** What is erased and written at once. */
  readonly pageBytes: number;
  /** The sizes that its fuses can give the section of the boot loader, at the end of the flash; the smallest first. */
  readonly bootBytes: readonly number[];
}

/** Whatever stands behind MCUboot: it is told apart by its name alone. */
export interface McubootPart {
  readonly family: 'mcuboot';
  readonly name: string;
}

export type Part = AvrPart | McubootPart;
