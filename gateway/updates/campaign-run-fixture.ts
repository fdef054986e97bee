/** A campaign with two good devices and two that take the image back, run to its end, with the power cut where a test wants it. */
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { JobStatus } from '@holdfast/protos/mqtt/job-payload';
import type { Test } from 'tap';
import type { OutboundMessage } from '../broker/broker.js';
import {
  type Cut,
  campaignBody,
  firmwareBody,
  type Life,
  openTestSite,
} from './updates-fixture.js';

/** A device that goes through an update, whatever happens to the gateway meanwhile; a bad image comes up and is taken back. */
class TestDevice {
  version = '1';
  #run = 1;
  #job: { id: string; phase: JobStatus } | null = null;
  #life: Life | undefined;

  constructor(
    readonly id: string,
    readonly door: 'native' | 'devices',
    readonly isBad = false,
  ) {}

  get run(): string {
    return `${this.id}-${this.#run}`;
  }

  async connect(life: Life): Promise<void> {
    this.#life = life;
    const { dispatch } = life;
    const { id: device } = this;
    await dispatch({ type: 'session', device, session: this.run, connected: true });
    if (this.door === 'native') {
      const answer = await dispatch({ type: 'job_asked', device, job: null });
      if (answer.accepted && answer.execution)
        this.#offered(answer.execution.job_id, answer.execution.status);
    } else await this.#beat();
  }

  receive({ topic, payload }: OutboundMessage): void {
    const body = JSON.parse(Buffer.from(payload).toString());
    if (topic === `dt/${this.id}/jobs/notify` && body.execution) {
      this.#offered(body.execution.job_id, body.execution.status);
    }
    if (topic === `devices/${this.id}/command` && body.command === 'ota_update') {
      this.#offered(body.campaign_id, 'offered');
    }
  }

  /** One step, told to the gateway; taken when the gateway took it. */
  async step(): Promise<void> {
    if (this.#job === null || this.#life === undefined) return;
    const { id, phase } = this.#job;
    if (!(await this.#tell(id, phase))) {
      this.#job = null;
      return;
    }
    const next = this.#after(phase);
    if (phase === 'rebooting' || (phase === 'confirming' && this.isBad)) await this.#restart(phase);
    if (this.#job) this.#job = next === null ? null : { id, phase: next };
  }

  #offered(id: string, status: string): void {
    const isDone = this.version === '2';
    if (this.#job === null && status === 'offered')
      this.#job = { id, phase: isDone ? 'succeeded' : 'downloading' };
    else if (this.#job === null && isDone) this.#job = { id, phase: 'succeeded' };
  }

  #after(phase: JobStatus): JobStatus | null {
    const way: JobStatus[] = [
      'downloading',
      'verifying',
      'installing',
      'rebooting',
      'confirming',
      this.isBad ? 'rolled_back' : 'succeeded',
    ];
    return way[way.indexOf(phase) + 1] ?? null;
  }

  async #restart(phase: JobStatus): Promise<void> {
    const { dispatch } = this.#life as Life;
    const { id: device } = this;
    await dispatch({ type: 'session', device, session: this.run, connected: false });
    this.#run += 1;
    this.version = phase === 'rebooting' ? '2' : '1';
    await dispatch({ type: 'session', device, session: this.run, connected: true });
    if (this.door === 'devices') await this.#beat();
  }

  async #beat(): Promise<void> {
    await this.#life?.dispatch({
      type: 'heartbeat',
      device: this.id,
      session: this.run,
      serialNo: 'x',
      model: 'pi',
      firmwareVersion: this.version,
    });
  }

  async #tell(job: string, status: JobStatus): Promise<boolean> {
    const { dispatch } = this.#life as Life;
    const { id: device, version } = this;
    if (this.door === 'devices') {
      await dispatch({ type: 'status', device, session: this.run, campaign: job, status });
      return true;
    }
    const update = { status, version, boot_id: this.run };
    return (await dispatch({ type: 'job_updated', device, job, update })).accepted;
  }
}

const fleet = () => [
  new TestDevice('n1', 'native'),
  new TestDevice('n2', 'native', true),
  new TestDevice('o1', 'devices'),
  new TestDevice('o2', 'devices', true),
];
export const outcome = { n1: 'succeeded', n2: 'rolled_back', o1: 'succeeded', o2: 'rolled_back' };

/** Runs a campaign to its end; when the power is cut, the gateway starts again and every device connects anew. */
export const runCampaign = async (t: Test, cut?: Cut) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const devices = fleet();
  const deliver = (message: OutboundMessage): void => {
    for (const device of devices) device.receive(message);
  };
  let life = await site.start(deliver, cut);
  const isCut = async (work: () => Promise<unknown>): Promise<boolean> => {
    try {
      await work();
    } catch (error) {
      if (!life.isDead) throw error;
    }
    return life.isDead;
  };
  const connect = async (): Promise<void> => {
    for (const device of devices) {
      if (await isCut(() => device.connect(life))) return;
    }
  };
  for (const { id: device } of devices) life.devices.learned(device, { model: 'pi' });
  await connect();
  let underWay = 0;
  let steps = 0;
  for (; steps < 400; steps += 1) {
    if (life.isDead) {
      await life.close();
      life = await site.start(deliver);
      for (const { id: device } of devices) life.devices.learned(device, { model: 'pi' });
      await connect();
    }
    const isOver = await isCut(async () => {
      await life.updates.settled();
      await Promise.race([life.outbox.idle(), life.dead]);
    });
    const statuses = Object.values(await site.statuses());
    underWay = Math.max(
      underWay,
      statuses.filter((s) => s !== 'queued' && !isTerminal(s as 'queued')).length,
    );
    if (!isOver && statuses.length === 4 && statuses.every((s) => isTerminal(s as 'queued'))) {
      if ((await site.journal()).some(({ kind }) => kind === 'campaign_settled')) break;
    }
    for (const device of devices) if (await isCut(() => device.step())) break;
  }
  const { commits } = life;
  await life.close();
  return { site, commits, underWay, steps };
};

/** Runs with a cut: the same outcome, told once, never more at a time than may be. */
export const checkCut = async (t: Test, cut: Cut): Promise<void> => {
  const name = `cut ${cut.when} commit ${cut.at}`;
  const { site, underWay, steps } = await runCampaign(t, cut);
  t.same(await site.statuses(), outcome, `${name}, ${steps} steps`);
  t.ok(underWay <= 2, `${name}: ${underWay} under way`);
  const journal = await site.journal();
  for (const [device, status] of Object.entries(outcome)) {
    const told = journal.filter((entry) => entry.kind === 'execution' && entry.device === device);
    t.equal(told.at(-1)?.status, status, `${name}: the journal ends with it`);
    t.equal(told.filter((entry) => entry.status === status).length, 1, `${name}: and says it once`);
  }
  const settled = journal.filter(({ kind }) => kind === 'campaign_settled');
  t.equal(settled.length, 1, `${name}: settled once`);
};
