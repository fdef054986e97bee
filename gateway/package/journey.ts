/** What a person types on the way from a package to a device that is enrolled: counted. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Result } from './test-machine.js';

export interface Figures {
  readonly commands: number;
  /** Every character and the Enter behind it. */
  readonly keystrokes: number;
  /** The same where a code, which nobody types, is one stroke: it is pasted. */
  readonly keystrokesWithPaste: number;
  readonly seconds: number;
}

export class Journey {
  readonly #began = performance.now();
  #commands = 0;
  #keystrokes = 0;
  #withPaste = 0;
  #secondsAtEnd: number | undefined;

  /** Counts a command as it is typed, and does what it stands for. Errors: CHILD_FAILED with what it said. */
  async type(typed: string, does: () => Promise<Result>): Promise<string> {
    this.#commands += 1;
    this.#keystrokes += typed.length + 1;
    this.#withPaste += typed.replaceAll(/\bhf[a-z]1-\S+/g, '.').length + 1;
    const { code, stdout, stderr } = await does();
    if (code !== 0) {
      throw new HoldfastError('CHILD_FAILED', `${typed}: exit code ${code}\n${stdout}${stderr}`);
    }
    return `${stdout}${stderr}`;
  }

  arrive(): Figures {
    this.#secondsAtEnd ??= (performance.now() - this.#began) / 1_000;
    return {
      commands: this.#commands,
      keystrokes: this.#keystrokes,
      keystrokesWithPaste: this.#withPaste,
      seconds: Math.round(this.#secondsAtEnd * 10) / 10,
    };
  }
}
