/** Tells devices how their executions stand, each through its door; performed from the outbox, again after a crash. */
import { isWired } from '@holdfast/protos/link/door';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { OutboundMessage } from '../broker/broker.js';
import type { Door } from '../devices/device-events.js';
import type { TellDevice } from './device-executions.js';
import { isUnderWay } from './execution.js';
import type { Executions } from './executions.js';
import { type DeltasOf, jobOf } from './told.js';

export interface TellDevicesDeps {
  readonly executions: () => Executions;
  readonly deltasOf: DeltasOf;
  /** Resolves after every copy owed is committed. */
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Offers an update over a serial line; without it devices on lines wait. */
  readonly offerOnLine?: (device: string, job: JobExecutionPayload) => Promise<void>;
  /** Tells of any change who flashes this device in its place; false where nobody does. */
  readonly toldOnLine?: (device: string) => boolean;
  readonly isFenced: () => boolean;
}

export class TellDevices {
  readonly #deps: TellDevicesDeps;
  readonly #tellers = new Map<Door, TellDevice>();

  constructor(deps: TellDevicesDeps) {
    this.#deps = deps;
  }

  /** How devices of a door are told, in place of what is known here. */
  through(door: Door, tell: TellDevice): void {
    this.#tellers.set(door, tell);
  }

  /** Tells the state as it is now, whatever it was when this became due: so it may be performed twice, or late. */
  async perform(body: unknown): Promise<void> {
    // Only `decisionWrite` makes it.
    const { campaign: id, device } = body as { campaign: string; device: string };
    if (this.#deps.isFenced()) return;
    const executions = this.#deps.executions();
    const campaign = executions.campaign(id);
    const execution = await executions.getDecided(id, device);
    if (campaign === undefined || execution === undefined) return;
    const { door, status } = execution;
    const own = door === null ? undefined : this.#tellers.get(door);
    if (own !== undefined) return own(device, id);
    // It asks by itself.
    if (door === 'ddi') return;
    if (isWired(door)) {
      if (this.#deps.toldOnLine?.(device) === true) return;
      if (status !== 'offered') return;
      await this.#deps.offerOnLine?.(device, jobOf(campaign, execution, this.#deps.deltasOf));
    } else {
      const next = nextOf(executions, device, 'native', this.#deps.deltasOf);
      await this.#publish(buildTopic({ kind: 'jobs_notify', device }), { execution: next });
    }
  }

  #publish(topic: string, payload: object): Promise<void> {
    return this.#deps.publish({ topic, payload: Buffer.from(JSON.stringify(payload)), qos: 1 });
  }
}

/** What a device has to do next, as it is told through a door. */
export const nextOf = (
  executions: Executions,
  device: string,
  door: Door,
  deltasOf: DeltasOf,
): JobExecutionPayload | null => {
  for (const [campaign, execution] of executions.liveOf(device)) {
    if (execution.door !== door || !isUnderWay(execution.status)) continue;
    return jobOf(campaign, execution, deltasOf);
  }
  return null;
};
