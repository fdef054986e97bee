/** An output that a process of `gpioset` holds: one at a time, since two may not hold one line. */
import { type LineAddress, nameOfLine, type OutputLine, type OutputOptions } from './gpio-lines.js';
import { gpioUnavailable } from './gpio-unavailable.js';
import type { ToolsDeps } from './libgpiod-tools.js';
import { leaveCommand, setCommand } from './tool-commands.js';
import { ToolProcess } from './tool-process.js';

export class HeldLine implements OutputLine {
  readonly #deps: ToolsDeps;
  readonly #address: LineAddress;
  readonly #options: OutputOptions;
  #tool: ToolProcess | undefined;
  #isOn: boolean | undefined;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(deps: ToolsDeps, address: LineAddress, options: OutputOptions) {
    this.#deps = deps;
    this.#address = address;
    this.#options = options;
  }

  set(isOn: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isClosed || (this.#isOn === isOn && this.#tool?.isRunning)) return;
      const { environment: env, holdsLine, tools, find, will } = this.#deps;
      const { version, hasSetpriv } = await tools();
      const line = await find(this.#address);
      const { leaveAt } = this.#options;
      if (leaveAt !== undefined) will.set(this.#name, leaveCommand(version, line, leaveAt));
      // It is free for a moment, in which it is one of the two that it goes between.
      await this.#release();
      const tool = new ToolProcess(setCommand(version, line, isOn), {
        env,
        hasSetpriv,
        ...(holdsLine !== undefined && { holdsLine }),
      });
      this.#tool = tool;
      this.#isOn = isOn;
      await tool.settled();
      void tool.ended.then((error) => this.#ended(tool, error.message));
    });
  }

  /** Of a line that was lost its will stays, until somebody has it again: nobody knows what it is. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#inTurn(async () => {
      const isHeld = this.#tool?.isRunning === true;
      await this.#release();
      if (isHeld) this.#deps.will.drop(this.#name);
    });
  }

  get #name(): string {
    return nameOfLine(this.#address);
  }

  async #release(): Promise<void> {
    const tool = this.#tool;
    this.#tool = undefined;
    await tool?.end();
  }

  #ended(tool: ToolProcess, reason: string): void {
    if (this.#tool !== tool) return;
    this.#tool = undefined;
    this.#options.onLost?.(gpioUnavailable(`${this.#name} is held no longer: ${reason}`));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}
