/**
 * The world of the model of campaigns: three sites with their real updates on real rows, devices of every door, and a fleet that changes
 * its plan. Time is by hand, and what happens comes from commands; after each of them the laws are looked at.
 */
import assert from 'node:assert/strict';
import { onePhase } from '@holdfast/protos/link/campaign-document';
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import type { Test } from 'tap';
import type { Fate } from './model-device.js';
import { type FleetState, limits, ModelSite, phaseMs } from './model-site.js';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

export const siteCount = 3;

const first = (): CampaignBody =>
  campaignBody({
    phases: [
      {
        ...onePhase,
        percent: 40,
        duration_ms: phaseMs,
        success_percent: 50,
        error_percent: 50,
        error_min_count: 2,
      },
      { ...onePhase, percent: 70, approval: true, released: false },
      onePhase,
    ],
    policy: {
      ...campaignBody().policy,
      site_concurrency: limits.concurrency,
      disruption: [
        { group: null, max_unavailable: limits.unavailable, min_available: null },
        { group: 'pair', max_unavailable: limits.ofGroup, min_available: null },
      ],
      offer_timeout_ms: 3_600_000,
    },
  });

const second = (): CampaignBody =>
  campaignBody({
    firmware: ['pi@3'],
    started_at: 2_000,
    target: { ...campaignBody().target, groups: ['pair'] },
  });

const job = (): CampaignBody =>
  campaignBody({ firmware: [], document: { operation: 'blink' }, started_at: 3_000 });

export class ModelWorld {
  readonly sites: readonly ModelSite[];
  readonly #fleet: FleetState = { campaigns: { first: first() }, stop: undefined };

  private constructor(sites: readonly ModelSite[]) {
    this.sites = sites;
  }

  static async open(t: Test): Promise<ModelWorld> {
    const sites: ModelSite[] = [];
    for (let i = 0; i < siteCount; i += 1) {
      const at: { site?: ModelSite } = {};
      const site = await openTestSite(t, { asOf: () => at.site?.heardAt ?? 0 });
      at.site = new ModelSite(i, site);
      sites.push(at.site);
    }
    const world = new ModelWorld(sites);
    for (const { site } of sites) {
      for (const body of [firmwareBody(), firmwareBody('3')]) site.firmware.come(body);
    }
    for (const model of sites) {
      world.#tell(model);
      for (const device of model.devices) device.isOnline = true;
      await model.start();
      await model.act(async () => undefined);
    }
    return world;
  }

  /** People in the cloud change something; sites that are connected hear of it. */
  async change(work: (fleet: FleetState) => void): Promise<void> {
    work(this.#fleet);
    for (const site of this.sites) if (site.isConnected) await this.hear(site);
  }

  async hear(site: ModelSite): Promise<void> {
    for (const [id, { resumes }] of Object.entries(this.#fleet.campaigns)) {
      const before = site.site.plan.current()?.documents.campaign.get(id)?.body.resumes ?? 0;
      if (resumes > before) site.noteResume(id);
    }
    this.#tell(site);
    await site.act(async () => undefined);
  }

  async add(name: 'second' | 'job'): Promise<void> {
    await this.change(({ campaigns }) => {
      campaigns[name] ??= name === 'second' ? second() : job();
    });
  }

  async alter(name: string, changes: (body: CampaignBody) => Partial<CampaignBody>): Promise<void> {
    await this.change(({ campaigns }) => {
      const body = campaigns[name];
      if (body !== undefined && body.state !== 'cancelling') {
        campaigns[name] = { ...body, ...changes(body) };
      }
    });
  }

  async release(): Promise<void> {
    await this.alter('first', ({ phases }) => ({
      phases: phases.map((phase) => ({ ...phase, released: true })),
    }));
  }

  async pass(ms: number): Promise<void> {
    for (const site of this.sites) {
      site.site.clock.advance(ms);
      if (site.isConnected) site.heardAt = site.site.clock.now();
      await site.act(async () => undefined);
    }
  }

  async check(): Promise<void> {
    for (const site of this.sites) await site.check(this.#fleet);
  }

  /** Everything is well again: every campaign comes to its end. */
  async end(): Promise<void> {
    await this.change((fleet) => {
      fleet.stop = undefined;
    });
    await this.release();
    for (const name of Object.keys(this.#fleet.campaigns)) {
      await this.alter(name, ({ resumes }) => ({ state: 'running', resumes: resumes + 1 }));
    }
    for (const site of this.sites) {
      site.isConnected = true;
      site.heardAt = site.site.clock.now();
      await this.hear(site);
      for (const device of site.devices) {
        device.fate = 'good' as Fate;
        if (!device.isOnline) await site.act((life) => device.connect(life));
      }
    }
    for (let rounds = 0; rounds < 300; rounds += 1) {
      let isOver = true;
      for (const site of this.sites) {
        // Again where a crash was in the way.
        if (site.life.updates.controls.emergencyStops().some(({ of }) => of === 'site')) {
          await site.act(({ updates }) => updates.controls.liftStop('ann', ''));
        }
        for (const { id } of site.life.updates.campaigns()) {
          const standing = site.life.updates.controls.standing(id);
          if (standing?.isSettled === true) continue;
          isOver = false;
          if (standing?.paused != null) {
            site.noteResume(id);
            await site.act(({ updates }) => updates.controls.resume(id, 'ann'));
          }
        }
        for (const device of site.devices) await site.act((life) => device.step(life));
      }
      if (isOver) {
        for (const site of this.sites) await site.checkJournal();
        return;
      }
      await this.check();
      await this.pass(rounds % 10 === 9 ? 700_000 : 20_000);
    }
    assert.fail(`a campaign does not end: ${this.#unfinished().join('; ')}`);
  }

  #unfinished(): string[] {
    return this.sites.flatMap(({ life, devices }) => {
      return life.updates.campaigns().flatMap(({ id }) => {
        const standing = life.updates.controls.standing(id);
        if (standing?.isSettled === true) return [];
        const each = devices.map(({ id: device }) => {
          const why = life.updates.controls.whyWaits(id, device) ?? '';
          const live = life.updates
            .executionsOf(device)
            .map(({ campaign, execution }) => `${campaign.id} ${execution.status}`);
          return `${device} [${live.join(', ')}] ${why}`;
        });
        return [
          `${id} ${JSON.stringify(standing?.counts)} ${standing?.waits?.reason}: ${each.join(' | ')}`,
        ];
      });
    });
  }

  async close(): Promise<void> {
    for (const { life } of this.sites) await life.close();
  }

  #tell({ site, pair, ...model }: ModelSite): void {
    const policy = this.#fleet.stop === undefined ? {} : { emergency_stop: this.#fleet.stop };
    void model;
    site.plan.set(
      { ...this.#fleet.campaigns },
      [firmwareBody(), firmwareBody('3')],
      [
        { kind: 'policy', id: 'policy', body: policy },
        { kind: 'group', id: 'pair', body: { devices: pair } },
      ],
    );
  }
}
