/** A machine whose clocks stand still until they are moved, for tests. */
import type { MachineTime, NtpState } from './machine-time.js';

export class ManualMachine implements MachineTime {
  /** Epoch ms of the system's clock, which a test may set. */
  system: number;
  /** Milliseconds since the machine started. */
  uptime = 10_000;
  /** Epoch ms of the battery-backed clock. */
  battery: number | null = null;
  synchronised: NtpState | null = null;
  #starts = 1;

  constructor(system = Date.UTC(2026, 0, 20, 12)) {
    this.system = system;
  }

  readonly read = () => ({ system: this.system, monotonic: this.uptime });
  readonly boot = async () => `start ${this.#starts}`;
  readonly rtc = async () => this.battery;
  readonly ntp = async () => this.synchronised;

  /** Lets time go by. */
  pass(ms: number): void {
    this.system += ms;
    this.uptime += ms;
  }

  /** Starts the machine again, with its clock at this. */
  restart(system: number): void {
    this.#starts += 1;
    this.system = system;
    this.uptime = 5_000;
  }
}
