/**
 * Whose turn it is, and what the others wait for: the places of a campaign, one update a device at a time, the windows, the firmware, and
 * how many devices may be missing. What is chosen takes its place at once, so that nobody else gets it before it is committed.
 */
import { type Device, isOnline } from '../devices/device.js';
import type { Door } from '../devices/device-events.js';
import type { Availability } from './availability.js';
import { type Campaign, imageOf, supersedes } from './campaign.js';
import type { CampaignRun } from './campaign-run.js';
import { isUnderWay } from './execution.js';
import { isChanging } from './execution-reports.js';
import type { Execution } from './execution-state.js';
import type { Executions } from './executions.js';
import type { FirmwareRefusal, FirmwareVerdicts } from './firmware-releases.js';
import type { PlanMarks } from './plan-marks.js';
import type { Closed, SiteWindows } from './site-windows.js';

export interface CampaignTurnsDeps {
  readonly devices: { get(device: string): Device | undefined };
  /** One that is not connected, and can be changed all the same: a microcontroller that its gateway flashes need not say a word. */
  readonly isReachable?: ((device: string) => boolean) | undefined;
  readonly firmware: { isHeld(sha256: string): boolean };
  readonly verdicts: Pick<FirmwareVerdicts, 'refusal' | 'refusalFor'>;
  readonly windows?: Pick<SiteWindows, 'closed'>;
  readonly availability: Availability;
  readonly stops: { why(): string | undefined };
  readonly executions: Executions;
  readonly marks: Pick<PlanMarks, 'of' | 'groupsOf'>;
  readonly time: () => number;
}

/** Why one execution is not offered now. */
export interface TurnWait {
  readonly code:
    | 'gone'
    | 'offline'
    | 'later'
    | 'other'
    | 'phase'
    | 'firmware'
    | 'window'
    | 'places'
    | 'budget';
  /** In a sentence after "it". */
  readonly reason: string;
  /** Whether only the device itself can change that; a change of it is told. */
  readonly isOfDevice: boolean;
}

export interface Turns {
  readonly offers: readonly Turn[];
  /** Offers to devices that went away, whose places others want. */
  readonly absent: readonly string[];
  readonly refused: readonly (readonly [device: string, refusal: FirmwareRefusal])[];
}

export interface Turn {
  readonly device: string;
  /** To be called when the offer is committed, or was not. */
  readonly done: () => void;
}

/** Doors whose protocol has the device ask before it installs. */
export const asksFirst: readonly Door[] = ['native', 'serial'];

export class CampaignTurns {
  readonly #deps: CampaignTurnsDeps;

  constructor(deps: CampaignTurnsDeps) {
    this.#deps = deps;
  }

  /** As many devices as may begin now. */
  choose(run: CampaignRun): Turns {
    const offers: Turn[] = [];
    const refused: [string, FirmwareRefusal][] = [];
    const concurrency = run.campaign.body.policy.site_concurrency;
    let isFull = false;
    for (let phase = 0; phase <= run.phases.phase && !isFull; phase += 1) {
      const candidates = run.candidates[phase] ?? new Set();
      for (const device of candidates) {
        if (run.places.size >= concurrency) {
          isFull = true;
          break;
        }
        const execution = run.live.get(device);
        candidates.delete(device);
        if (execution?.status !== 'queued') continue;
        const refusal = this.#refusal(run, device, execution);
        if (refusal !== undefined) {
          refused.push([device, refusal]);
          continue;
        }
        const wait = this.#deviceWait(run, device, execution);
        if (wait === undefined)
          offers.push(this.#take(run, device, this.#beginsAtOffer(run, device)));
        else if (!wait.isOfDevice) run.parked.add(device);
      }
    }
    return { offers, refused, absent: isFull ? this.#absent(run) : [] };
  }

  /** Why a queued execution is not offered now; undefined when nothing of its own keeps it. */
  waitOf(run: CampaignRun, device: string, execution: Execution): TurnWait | undefined {
    const phase = run.phaseOf(device);
    if (phase > run.phases.phase) {
      const reason =
        run.gate?.reason ?? `waits for phase ${phase + 1} of ${run.campaign.body.phases.length}`;
      return { code: 'phase', reason, isOfDevice: false };
    }
    const wait = this.#deviceWait(run, device, execution);
    if (wait !== undefined) return wait;
    const most = run.campaign.body.policy.site_concurrency;
    return run.places.size < most
      ? undefined
      : {
          code: 'places',
          reason: `waits for its turn: ${most} of the campaign at a time`,
          isOfDevice: false,
        };
  }

  /**
   * Whether a device that asks may begin to change itself now. What it is given it holds until `done`, to be called when its report is
   * committed or was not.
   */
  mayChange(
    run: CampaignRun,
    device: string,
    execution: Execution,
  ): { readonly closed: Closed } | { readonly done: () => void } {
    const { availability, devices, stops } = this.#deps;
    const stopped = stops.why();
    if (stopped !== undefined) return { closed: { opening: null, reason: stopped } };
    // What this gateway does itself has cost nobody a download, so it waits as an offer would.
    const isPaused = run.campaign.body.state === 'paused' || run.phases.paused !== null;
    if (isPaused && this.#deps.isReachable?.(device) === true) {
      return { closed: { opening: null, reason: 'waits until the campaign is resumed' } };
    }
    const model = devices.get(device)?.model ?? null;
    const groups = this.#deps.marks.groupsOf(device);
    const window = this.#deps.windows?.closed('install', { device, model, groups });
    if (window !== undefined) return { closed: window };
    const missing = availability.whyNot(device);
    if (missing !== undefined) return { closed: { opening: null, reason: missing } };
    const most = run.campaign.body.policy.site_concurrency;
    if (!run.places.has(device) && run.places.size >= most) {
      const reason = `waits for its turn: ${most} of the campaign at a time`;
      return { closed: { opening: null, reason } };
    }
    // It has begun already, or says so again.
    if (isChanging(execution)) return { done: () => undefined };
    return { done: this.#take(run, device, true).done };
  }

  /** Why this device may not be given what its execution installs, by what is trusted now. */
  refusalOf(run: CampaignRun, device: string, execution: Execution): FirmwareRefusal | undefined {
    const image = imageOf(run.campaign, execution);
    const ofAll = image && this.#deps.verdicts.refusal(image);
    return ofAll ?? this.#refusal(run, device, execution);
  }

  /** Whether a device counts as missing for what is under way on it. */
  isBusy(device: string): boolean {
    return this.#deps.executions.runsOf(device).some(({ campaign, live }) => {
      const execution = live.get(device);
      if (execution === undefined || !isUnderWay(execution.status)) return false;
      return beginsAtOffer(campaign, execution.door) || isChanging(execution);
    });
  }

  /**
   * What keeps a device from an offer now. One that asks before it installs is offered its update as soon as it may download; the others
   * do as they like once it is offered, so for them both have to be open.
   */
  windowWait(known: Device): Closed | undefined {
    const { windows, marks } = this.#deps;
    if (windows === undefined) return undefined;
    const { device, model } = known;
    const concerned = { device, model, groups: marks.groupsOf(device) };
    return (
      windows.closed('download', concerned) ??
      (asksFirst.includes(known.door) ? undefined : windows.closed('install', concerned))
    );
  }

  #take(run: CampaignRun, device: string, isMissing: boolean): Turn {
    const free = isMissing ? this.#deps.availability.reserve(device) : undefined;
    run.places.add(device);
    return {
      device,
      done: () => {
        free?.();
        run.placeAnew(device);
      },
    };
  }

  #beginsAtOffer({ campaign }: CampaignRun, device: string): boolean {
    return beginsAtOffer(campaign, this.#deps.devices.get(device)?.door ?? null);
  }

  #refusal(run: CampaignRun, device: string, execution: Execution): FirmwareRefusal | undefined {
    const image = imageOf(run.campaign, execution);
    const known = this.#deps.devices.get(device);
    if (image === undefined || known === undefined) return undefined;
    const { labels } = this.#deps.marks.of(known);
    return this.#deps.verdicts.refusalFor(image, known, run.campaign, labels);
  }

  #deviceWait(run: CampaignRun, device: string, execution: Execution): TurnWait | undefined {
    const { devices, firmware, verdicts, availability, time } = this.#deps;
    const known = devices.get(device);
    if (known === undefined) {
      return { code: 'gone', reason: 'waits until it is known again', isOfDevice: true };
    }
    if (!this.#isThere(known)) {
      return { code: 'offline', reason: 'waits until it is connected', isOfDevice: true };
    }
    if (execution.notBefore > time()) {
      return { code: 'later', reason: 'waits for its next attempt', isOfDevice: true };
    }
    const other = this.#otherUnderWay(run, device);
    if (other !== undefined) {
      return { code: 'other', reason: `waits for the end of ${other}`, isOfDevice: true };
    }
    const image = imageOf(run.campaign, execution);
    if (image !== undefined) {
      const refusal = verdicts.refusal(image);
      if (refusal !== undefined) {
        const reason = `waits for firmware that can be trusted: ${refusal.code}, ${refusal.message}`;
        return { code: 'firmware', reason, isOfDevice: false };
      }
      if (!firmware.isHeld(image.sha256)) {
        return { code: 'firmware', reason: 'waits for its firmware', isOfDevice: false };
      }
    }
    const window = this.windowWait(known);
    if (window !== undefined) return { code: 'window', reason: window.reason, isOfDevice: false };
    // One that asks first is counted when it does.
    const missing = this.#beginsAtOffer(run, device) ? availability.whyNot(device) : undefined;
    return missing === undefined
      ? undefined
      : { code: 'budget', reason: missing, isOfDevice: false };
  }

  /** A device does one thing at a time: its updates one after the other, and no job that has begun beside one. */
  #otherUnderWay(run: CampaignRun, device: string): string | undefined {
    const isJob = run.campaign.body.document !== null;
    for (const other of this.#deps.executions.runsOf(device)) {
      const execution = other.live.get(device);
      if (other === run || execution === undefined || !isUnderWay(execution.status)) continue;
      const isOtherJob = other.campaign.body.document !== null;
      if (isOtherJob && (isJob || execution.status === 'offered')) continue;
      return other.campaign.id;
    }
    return undefined;
  }

  #absent(run: CampaignRun): string[] {
    const { devices } = this.#deps;
    return [...run.places].filter((device) => {
      const known = devices.get(device);
      return (
        run.live.get(device)?.status === 'offered' && (known === undefined || !this.#isThere(known))
      );
    });
  }

  #isThere(known: Device): boolean {
    return isOnline(known) || this.#deps.isReachable?.(known.device) === true;
  }
}

/** Whether another update wants the device of this one, which has not begun. */
export const isSuperseded = (run: CampaignRun, others: readonly CampaignRun[]): boolean =>
  others.some((other) => other !== run && supersedes(other.campaign, run.campaign));

/** Whether a device may change itself from the offer on, asking nobody. */
const beginsAtOffer = ({ body }: Campaign, door: Door | null): boolean =>
  body.document !== null || door === null || !asksFirst.includes(door);
