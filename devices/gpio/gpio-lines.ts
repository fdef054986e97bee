/** GPIO lines by chip and line, whatever drives them underneath. */
import type { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface LineAddress {
  /** Its name, as `gpiochip0`, or its label, as `pinctrl-bcm2711`, which stays the same with another kernel. */
  readonly chip: string;
  /** Its number on the chip, or what the kernel calls it, as `GPIO17`. */
  readonly line: number | string;
  /** Low is on. */
  readonly activeLow: boolean;
  /** The resistor of the chip; `as-is` leaves it as it is. */
  readonly bias: Bias;
}

export const biases = ['as-is', 'pull-up', 'pull-down'] as const;
export type Bias = (typeof biases)[number];

export interface OutputOptions {
  /** What it is left at should this process be killed, as far as the kernel keeps a line that nobody holds; by default nothing is done. */
  readonly leaveAt?: boolean;
  /** Told when the line is held no longer, and nobody here gave it back. */
  readonly onLost?: (error: HoldfastError) => void;
}

export interface OutputLine {
  /** Resolves when the line shows it. Errors: GPIO_UNAVAILABLE. */
  set(isOn: boolean): Promise<void>;
  /** Gives the line back as it is. Idempotent. */
  close(): Promise<void>;
}

/** A line came on or went off. */
export interface Edge {
  readonly isOn: boolean;
  /** How long before it is told, ms. */
  readonly agoMs: number;
}

export interface WatchHandlers {
  /** How the line is when it begins to be watched, or is looked at anew: no edge. */
  readonly level?: (isOn: boolean) => void;
  /** One after the other as they came; those that came together are told together. */
  readonly edges: (edges: readonly Edge[]) => void;
}

export interface WatchOptions {
  /** What does not stay for so long is no edge; 0: bounces are told too. */
  readonly debounceMs?: number;
}

export interface InputLine {
  /** Resolves when it is watched: what happens from then on is told. Never, where it cannot be. */
  readonly ready: Promise<void>;
  /** Rejects when the line can be watched no longer. Errors: GPIO_UNAVAILABLE. */
  readonly failed: Promise<never>;
  /** How often more came than is looked at, so that edges may be missing. */
  readonly overruns: number;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface GpioLines {
  output(address: LineAddress, options?: OutputOptions): OutputLine;
  watch(address: LineAddress, handlers: WatchHandlers, options?: WatchOptions): InputLine;
}

export const nameOfLine = ({ chip, line }: Pick<LineAddress, 'chip' | 'line'>): string =>
  `${chip} ${line}`;
