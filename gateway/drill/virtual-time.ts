/** Time that passes when it is told to, for a whole site: that of the world, and that of a gateway's machine, which may have lost it. */
import type { MachineTime } from '@holdfast/provisioning/time/machine-time';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { ManualSchedule } from '@holdfast/provisioning/time/manual-schedule';

export class VirtualTime {
  /** What time it is in the world. */
  readonly world = new ManualClock(Date.now());
  /** What the gateway does at times of the day. */
  readonly schedule = new ManualSchedule();
  #boots = 0;

  /** A machine that starts now. One that `isLost` has no battery: its clock begins at 1970, and nothing on it knows better. */
  startMachine({ isLost }: { readonly isLost: boolean }): MachineTime {
    const { world } = this;
    this.#boots += 1;
    const boot = `boot ${this.#boots}`;
    const startedAt = world.monotonic();
    const monotonic = () => world.monotonic() - startedAt;
    return {
      read: () => ({ system: isLost ? monotonic() : world.now(), monotonic: monotonic() }),
      boot: async () => boot,
      rtc: async () => (isLost ? null : world.now()),
      ntp: async () => null,
    };
  }
}
