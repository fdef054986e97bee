/** One site of the model of campaigns: its real updates on real rows, its devices, and the laws that hold there whatever happens. */
import assert from 'node:assert/strict';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { CampaignBody, PolicyBody } from '@holdfast/protos/link/plan-documents';
import { isReached } from '@holdfast/protos/semantics/phase-machine';
import type { Door } from '../devices/device-events.js';
import { asksFirst } from './campaign-turns.js';
import { isUnderWay } from './execution.js';
import { isChanging } from './execution-reports.js';
import type { ExecutionRow } from './execution-rows.js';
import { ModelDevice } from './model-device.js';
import type { Life, openTestSite } from './updates-fixture.js';

const doors: readonly Door[] = ['native', 'devices', 'serial', 'aws'];
export const devicesPerSite = 6;
export const limits = { concurrency: 2, unavailable: 2, ofGroup: 1 };
export const phaseMs = 60_000;
const planAgeMs = 72 * 3_600_000;

/** What people decide in the cloud; each site hears of it when it can. */
export interface FleetState {
  campaigns: Record<string, CampaignBody>;
  stop: PolicyBody['emergency_stop'];
}

interface Seen {
  readonly rows: readonly ExecutionRow[];
  readonly phases: ReadonlyMap<string, number>;
  readonly isStopped: boolean;
  readonly isOld: boolean;
  readonly paused: ReadonlySet<string>;
}

export class ModelSite {
  readonly devices: readonly ModelDevice[];
  isConnected = true;
  heardAt = 0;
  /** Phases, as `campaign/phase`, that somebody let a campaign go on from. */
  readonly #waved = new Set<string>();
  #life: Life | undefined;
  #seen: Seen | undefined;

  constructor(
    readonly index: number,
    readonly site: Awaited<ReturnType<typeof openTestSite>>,
  ) {
    this.devices = Array.from({ length: devicesPerSite }, (_, i) => {
      const door = doors[(i + index) % doors.length] ?? 'native';
      return new ModelDevice(`s${index}-${i}`, door);
    });
  }

  /** Devices that are in the small group. */
  get pair(): string[] {
    return this.devices.slice(0, 2).map(({ id }) => id);
  }

  get life(): Life {
    assert(this.#life);
    return this.#life;
  }

  async start(): Promise<void> {
    this.#life = await this.site.start();
    for (const device of this.devices) if (device.isOnline) await device.connect(this.#life);
  }

  /** The power comes back, and everybody connects anew. */
  async restart(): Promise<void> {
    await this.#life?.close();
    await this.start();
  }

  /** Somebody resumes what is paused: from there it goes on, whatever its success. */
  noteResume(campaign: string): void {
    const standing = this.life.updates.controls.standing(campaign);
    if (standing?.paused != null) this.#waved.add(`${campaign}/${standing.phase}`);
  }

  /** Does something here; when the power is cut meanwhile, the gateway starts again. */
  async act(work: (life: Life) => Promise<unknown>): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await work(this.life);
        await this.life.updates.settled();
        if (!this.life.isDead) return;
      } catch (error) {
        if (!this.life.isDead || !isHoldfastError(error, 'STORE_UNAVAILABLE')) throw error;
      }
      assert(tries < 3, 'it does not come back');
      await this.restart();
      work = async () => undefined;
    }
  }

  /** What holds always; `isQuiet` where nothing but the engine itself acted since the last look. */
  async check(fleet: FleetState): Promise<void> {
    const { updates } = this.life;
    const rows = await this.site.store.read.all<ExecutionRow>('SELECT * FROM executions');
    const standings = updates.campaigns().flatMap(({ id }) => updates.controls.standing(id) ?? []);
    const before = this.#seen;
    const now: Seen = {
      rows,
      phases: new Map(standings.map(({ campaign, phase }) => [campaign.id, phase])),
      isStopped: updates.controls.emergencyStops().length > 0,
      isOld: this.site.clock.now() - this.heardAt > planAgeMs,
      paused: new Set(
        standings
          .filter(({ campaign, paused }) => paused !== null || campaign.body.state === 'paused')
          .map(({ campaign }) => campaign.id),
      ),
    };
    this.#seen = now;
    const live = rows.filter(({ status }) => isUnderWay(status as 'queued'));
    for (const { id } of this.devices) {
      const own = live.filter(({ device, firmware }) => device === id && firmware !== null);
      assert(own.length <= 1, `${id} is offered two images at once`);
    }
    for (const { campaign } of standings) {
      // What is being cancelled begins nothing, also where it had waited and given its place to another.
      const placed = live.filter(
        (row) => row.campaign === campaign.id && row.held === 0 && row.status !== 'cancelling',
      );
      const most = campaign.body.policy.site_concurrency;
      const each = placed.map(({ device, status, door }) => `${device} ${status} ${door}`).join();
      assert(placed.length <= most, `${campaign.id}: ${each} at a time, ${most} may be`);
    }
    this.#checkBudget(before, now);
    this.#checkOffers(before, now);
    this.#checkPhases(before, standings, fleet);
    for (const standing of standings) {
      const counted: Record<string, number> = {};
      for (const { campaign, status } of rows) {
        if (campaign === standing.campaign.id) counted[status] = (counted[status] ?? 0) + 1;
      }
      assert.deepEqual({ ...standing.counts }, counted, 'the counts are those of the rows');
    }
  }

  /** Nothing is counted twice by whoever reads the journal. */
  async checkJournal(): Promise<void> {
    const ends = new Map<string, number>();
    for (const entry of await this.site.journal()) {
      if (entry.kind !== 'execution' || !isTerminal(entry.status as 'queued')) continue;
      const key = `${entry.campaign}/${entry.device}`;
      ends.set(key, (ends.get(key) ?? 0) + 1);
    }
    for (const [key, count] of ends) assert.equal(count, 1, `${key} ends ${count} times`);
  }

  #isBusy(row: ExecutionRow): boolean {
    if (!isUnderWay(row.status as 'queued')) return false;
    const isJob = row.firmware === null;
    const asks = row.door !== null && asksFirst.includes(row.door as Door);
    return isJob || !asks || isChanging({ furthest: row.furthest } as never);
  }

  #checkBudget(before: Seen | undefined, now: Seen): void {
    const busyOf = ({ rows }: Seen) =>
      new Set(rows.filter((row) => this.#isBusy(row)).map(({ device }) => device));
    const busy = busyOf(now);
    const was = before === undefined ? new Set<string>() : busyOf(before);
    const begun = [...busy].filter((device) => !was.has(device));
    const offered = now.rows.some(({ campaign }) => campaign === 'first');
    if (begun.length === 0 || !offered || !this.#isLimited(now)) return;
    const missing = this.devices
      .filter(({ id, isOnline }) => busy.has(id) || !isOnline)
      .map(({ id }) => id);
    const ofPair = missing.filter((id) => this.pair.includes(id));
    assert(
      missing.length <= limits.unavailable,
      `${begun} began, and ${missing} are missing at once`,
    );
    if (begun.some((id) => this.pair.includes(id))) {
      assert(
        ofPair.length <= limits.ofGroup,
        `${begun} began, and ${ofPair} of the pair are missing`,
      );
    }
  }

  /** The limits are those of a campaign that is carried out. */
  #isLimited(_: Seen): boolean {
    const body = this.site.plan.current()?.documents.campaign.get('first')?.body;
    return body !== undefined && body.state !== 'cancelling';
  }

  #checkOffers(before: Seen | undefined, now: Seen): void {
    if (before === undefined) return;
    const offersOf = ({ rows }: Seen) =>
      new Map(rows.map((row) => [`${row.campaign}/${row.device}`, row.offers]));
    const were = offersOf(before);
    for (const [key, offers] of offersOf(now)) {
      if (offers <= (were.get(key) ?? 0)) continue;
      const [campaign = ''] = key.split('/');
      assert(!(before.isStopped && now.isStopped), `${key} is offered while updates are stopped`);
      assert(!(before.isOld && now.isOld), `${key} is offered by a plan that is too old`);
      const isPaused = before.paused.has(campaign) && now.paused.has(campaign);
      assert(!isPaused, `${key} is offered while it is paused`);
    }
  }

  #checkPhases(
    before: Seen | undefined,
    standings: readonly ReturnType<Life['updates']['controls']['standing']>[],
    fleet: FleetState,
  ): void {
    for (const standing of standings) {
      if (standing === undefined) continue;
      const { campaign, phase, countsByPhase } = standing;
      const was = before?.phases.get(campaign.id) ?? -1;
      for (let entered = Math.max(was + 1, 1); entered <= phase; entered += 1) {
        const [left, next] = [campaign.body.phases[entered - 1], campaign.body.phases[entered]];
        assert(left && next);
        if (next.approval) assert(next.released, `${campaign.id} went on without approval`);
        if (left.judged_by === 'site' && !this.#waved.has(`${campaign.id}/${entered - 1}`)) {
          assert(
            isReached(left, countsByPhase[entered - 1] ?? {}, campaign.body),
            `${campaign.id} went on without success`,
          );
        }
      }
      assert(phase < campaign.body.phases.length && fleet !== undefined);
    }
  }
}
