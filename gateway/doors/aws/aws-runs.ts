/**
 * Tells one run of a device's software from the next by its connections, which is all the proof of a restart that the topics of AWS IoT
 * have. A device may have several at once; the newest one names the run, and one that ends does not bring back an older.
 */
import type { DeviceExecutions } from '../../updates/device-executions.js';

export interface SeenUpdates extends Pick<DeviceExecutions, 'executionsOf'> {
  /** A device was seen in a run of its software. */
  seen(device: string, door: 'aws', boot: string, version: string | null): Promise<void>;
}

export class AwsRuns {
  readonly #updates: SeenUpdates;
  readonly #newest = new Map<string, string>();

  constructor(updates: SeenUpdates) {
    this.#updates = updates;
  }

  of(device: string): string | undefined {
    return this.#newest.get(device);
  }

  async begun(device: string, sessionId: string): Promise<void> {
    this.#newest.set(device, sessionId);
    if (this.#isConcerned(device)) await this.#updates.seen(device, 'aws', sessionId, null);
  }

  async versionReported(device: string, version: string): Promise<void> {
    const run = this.#newest.get(device);
    if (run === undefined || !this.#isConcerned(device)) return;
    await this.#updates.seen(device, 'aws', run, version);
  }

  /** Being seen takes up what was offered through another door. */
  #isConcerned(device: string): boolean {
    return this.#updates.executionsOf(device).some(({ execution: { door } }) => door === 'aws');
  }
}
