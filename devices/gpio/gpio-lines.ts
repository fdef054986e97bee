/** GPIO lines by chip and number, whatever drives them underneath. */

export interface LineAddress {
  /** As `gpiochip0`. */
  readonly chip: string;
  readonly line: number;
  /** Low is on. */
  readonly activeLow: boolean;
  /** The resistor of the chip; `as-is` leaves it as it is. */
  readonly bias: Bias;
}

export const biases = ['as-is', 'pull-up', 'pull-down'] as const;
export type Bias = (typeof biases)[number];

export interface OutputLine {
  /** Resolves when the line shows it. Errors: GPIO_UNAVAILABLE. */
  set(isOn: boolean): Promise<void>;
  /** Gives the line back. Idempotent. */
  close(): Promise<void>;
}

export interface InputLine {
  /** Rejects when the line can be watched no longer. Errors: GPIO_UNAVAILABLE. */
  readonly failed: Promise<never>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface GpioLines {
  output(address: LineAddress): OutputLine;
  /** `onEdge` is told each change, bounces too: on or off. */
  watch(address: LineAddress, onEdge: (isOn: boolean) => void): InputLine;
}
