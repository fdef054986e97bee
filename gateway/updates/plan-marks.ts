/** The groups and labels that the plan gives to devices. */
import type { Device } from '../devices/device.js';
import type { PlanView } from '../link/plan-view.js';
import { type DeviceMarks, unmarked } from './campaign.js';

export class PlanMarks {
  #groups: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  readonly #ofDevice = new Map<string, Set<string>>();
  #labels: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map();

  /** Devices by group. */
  get groups(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#groups;
  }

  take({ documents }: PlanView): void {
    this.#groups = new Map(
      [...documents.group.values()].map(({ id, body }) => [id, new Set(body.devices)]),
    );
    this.#ofDevice.clear();
    for (const [group, devices] of this.#groups) {
      for (const device of devices) {
        const groups = this.#ofDevice.get(device);
        if (groups === undefined) this.#ofDevice.set(device, new Set([group]));
        else groups.add(group);
      }
    }
    this.#labels = new Map(
      [...documents.device.values()].map(({ id, body }) => [id, body.labels] as const),
    );
  }

  groupsOf(device: string): ReadonlySet<string> {
    return this.#ofDevice.get(device) ?? unmarked.groups;
  }

  of({ device }: Pick<Device, 'device'>): DeviceMarks {
    return {
      labels: this.#labels.get(device) ?? unmarked.labels,
      groups: this.groupsOf(device),
    };
  }
}
