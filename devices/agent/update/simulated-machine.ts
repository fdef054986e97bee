/**
 * For tests: a machine with two copies of its system and a SIMULATED boot loader, all of it in files, so that it outlives the process
 * that works on it. A copy is whole when its last line says so; what the boot loader starts without being whole is remembered.
 */
import { randomUUID } from 'node:crypto';
import { appendFile, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BootControl, ImageWriter } from './copies-installer.js';
import { otherSlot, type Slot } from './update-state.js';

interface MachineState {
  readonly bootId: string;
  readonly boots: number;
  readonly booted: Slot;
  /** What it starts without being told. */
  readonly confirmed: Slot;
  /** What it is to start next, and how often it still tries. */
  readonly trial: { readonly slot: Slot; readonly tries: number } | null;
  /** What it once started although it was not whole. */
  readonly ranHalf: readonly Slot[];
}

const whole = 'whole';
const tries = 4;

export interface SystemImage {
  readonly version: string;
  /** Whether its health command succeeds. */
  readonly isHealthy?: boolean;
  /** Whether it comes up at all. */
  readonly isBootable?: boolean;
}

export const systemImage = ({
  version,
  isHealthy = true,
  isBootable = true,
}: SystemImage): Buffer =>
  Buffer.from(
    [
      JSON.stringify({ version, isHealthy, isBootable }),
      isHealthy ? 'healthy' : 'sick',
      'x'.repeat(3_000),
      whole,
    ].join('\n'),
  );

export class SimulatedMachine {
  readonly #folder: string;
  /** Like RAUC by default: the tool goes over to what it has written by itself. */
  readonly #activates: boolean;

  constructor(directory: string, { activates = false }: { readonly activates?: boolean } = {}) {
    this.#folder = join(directory, 'machine');
    this.#activates = activates;
  }

  /** A machine that runs `image` in its first copy. */
  async make(image: Buffer): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFile(this.#copy('a'), image);
    await writeFile(this.#copy('b'), 'nothing');
    await this.#write({
      ...{ bootId: randomUUID(), boots: 0, booted: 'a', confirmed: 'a', trial: null, ranHalf: [] },
    });
    await this.boot();
  }

  /** Power on, or a restart: the boot loader chooses. */
  async boot(): Promise<void> {
    const state = await this.state();
    const { trial, confirmed } = state;
    const mayTry = trial !== null && trial.tries > 0;
    const bootable = mayTry && (await this.#read(trial.slot))?.isBootable !== false;
    const booted = mayTry && bootable ? trial.slot : confirmed;
    const isWhole = (await this.#read(booted)) !== null;
    await copyFile(this.#copy(booted), join(this.#folder, 'booted'));
    await this.#write({
      ...state,
      bootId: randomUUID(),
      boots: state.boots + 1,
      booted,
      trial: mayTry ? { ...trial, tries: trial.tries - 1 } : null,
      ranHalf: isWhole ? state.ranHalf : [...state.ranHalf, booted],
    });
  }

  async state(): Promise<MachineState> {
    // Written by this class alone.
    return JSON.parse(await readFile(join(this.#folder, 'state.json'), 'utf8')) as MachineState;
  }

  async bootId(): Promise<string> {
    return (await this.state()).bootId;
  }

  async version(): Promise<string> {
    return (await this.#read((await this.state()).booted))?.version ?? 'unknown';
  }

  get healthCommand(): string {
    return `grep -q '^healthy$' '${join(this.#folder, 'booted')}'`;
  }

  bootControl(): BootControl {
    return {
      booted: async () => (await this.state()).booted,
      activate: (slot) => this.#change({ trial: { slot, tries } }),
      confirm: (slot) => this.#change({ confirmed: slot, trial: null }),
      reject: async (slot) => {
        const { confirmed } = await this.state();
        await this.#change({
          trial: null,
          ...(confirmed === slot && { confirmed: otherSlot(slot) }),
        });
      },
    };
  }

  /** `step` is called before and after each part that is written. */
  imageWriter(step: () => void = () => undefined): ImageWriter {
    return {
      inspect: async (image) => {
        await readFile(image);
      },
      write: async (image, slot, onProgress) => {
        const bytes = await readFile(image);
        const size = Math.ceil(bytes.length / 4);
        step();
        await writeFile(this.#copy(slot), '');
        for (let at = 0; at < bytes.length; at += size) {
          step();
          await appendFile(this.#copy(slot), bytes.subarray(at, at + size));
          onProgress(((at + size) * 100) / bytes.length);
        }
        step();
        if (this.#activates) await this.#change({ trial: { slot, tries } });
        step();
      },
      version: () => this.version(),
    };
  }

  /** Null when it is not whole. */
  async #read(slot: Slot): Promise<Required<SystemImage> | null> {
    const text = await readFile(this.#copy(slot), 'utf8');
    if (!text.endsWith(`\n${whole}`)) return null;
    return JSON.parse(text.slice(0, text.indexOf('\n'))) as Required<SystemImage>;
  }

  async #change(change: Partial<MachineState>): Promise<void> {
    await this.#write({ ...(await this.state()), ...change });
  }

  async #write(state: MachineState): Promise<void> {
    const path = join(this.#folder, 'state.json');
    await writeFile(`${path}.new`, JSON.stringify(state));
    await rename(`${path}.new`, path);
  }

  #copy(slot: Slot): string {
    return join(this.#folder, `copy-${slot}`);
  }
}
