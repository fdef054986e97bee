/** A simulated device of the model of campaigns: it takes an update stage by stage through its door, in the words of that door, and may repeat itself. */
import type { Door } from '../devices/device-events.js';
import type { ReportedStatus } from './execution-state.js';
import type { Life } from './updates-fixture.js';

/** What becomes of an image on it. */
export type Fate = 'good' | 'taken back' | 'broken' | 'silent';

interface Job {
  readonly campaign: string;
  readonly version: string;
  readonly isJob: boolean;
  stage: ReportedStatus;
}

const stages: readonly ReportedStatus[] = [
  'downloading',
  'verifying',
  'installing',
  'rebooting',
  'confirming',
];

export class ModelDevice {
  version = '1';
  isOnline = false;
  fate: Fate = 'good';
  #run = 0;
  #job: Job | undefined;
  /** What it said last, to be said again. */
  #said: (() => Promise<unknown>) | undefined;

  constructor(
    readonly id: string,
    readonly door: Door,
  ) {}

  get run(): string {
    return `${this.id}.${this.#run}`;
  }

  async connect(life: Life): Promise<void> {
    this.#run += 1;
    this.isOnline = true;
    life.devices.connected(this.id, this.run, {
      ...{ door: this.door, model: 'pi', firmwareVersion: this.version },
      ...(this.door === 'aws' || this.door === 'devices' ? {} : { boot: this.run }),
    });
    await this.#isSeen(life);
  }

  disconnect(life: Life): void {
    this.isOnline = false;
    life.devices.disconnected(this.id, this.run);
  }

  /** Its next step; in the end it has nothing to do. */
  async step(life: Life): Promise<void> {
    if (!this.isOnline || this.fate === 'silent') return;
    this.#job ??= this.#take(life);
    const job = this.#job;
    if (job === undefined) return;
    if (this.fate === 'broken') return this.#end(life, job, 'failed');
    if (job.isJob) return this.#end(life, job, 'succeeded');
    const isTaken = await this.#say(life, job, job.stage);
    if (!isTaken.accepted) {
      // Closed: it asks again. Else it gives the job up, as it was told.
      if (isTaken.reason !== 'closed') this.#job = undefined;
      return;
    }
    if (job.stage === 'rebooting') {
      await this.#restart(life, job.version);
      job.stage = 'confirming';
    } else if (job.stage === 'confirming') {
      if (this.fate === 'taken back') await this.#restart(life, this.#before);
      await this.#end(life, job, this.fate === 'taken back' ? 'rolled_back' : 'succeeded');
    } else job.stage = stages[stages.indexOf(job.stage) + 1] ?? 'confirming';
  }

  /** The network delivers what it said once more, or much too late. */
  async repeat(): Promise<void> {
    await this.#said?.();
  }

  #before = '1';

  #take(life: Life): Job | undefined {
    const offered = life.updates
      .executionsOf(this.id)
      .find(({ execution }) => execution.door === this.door && execution.status === 'offered');
    if (offered === undefined) return undefined;
    const { campaign, image } = offered;
    const isJob = campaign.body.document !== null;
    const version = image?.version ?? '';
    return { campaign: campaign.id, version, isJob, stage: 'downloading' };
  }

  async #end(life: Life, job: Job, status: ReportedStatus): Promise<void> {
    this.#job = undefined;
    await this.#say(life, job, status);
  }

  async #restart(life: Life, version: string): Promise<void> {
    life.devices.disconnected(this.id, this.run);
    this.#before = this.version;
    this.version = version;
    await this.connect(life);
  }

  async #isSeen({ updates }: Life): Promise<void> {
    if (this.door === 'native') return;
    await updates.seen(this.id, this.door, this.run, this.version);
  }

  #say(life: Life, { campaign }: Job, status: ReportedStatus) {
    const report = {
      door: this.door,
      status,
      boot: this.run,
      ...(this.door === 'native' ? { version: this.version } : {}),
    };
    this.#said = () => life.updates.report(this.id, campaign, report);
    return life.updates.report(this.id, campaign, report);
  }
}
