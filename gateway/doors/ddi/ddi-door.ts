/**
 * hawkBit's Direct Device Integration, as SWUpdate and RAUC's updater call it: each answer is made of what the updates know, each feedback
 * told them in their words. Who may ask, and how often, is decided before anything comes here (ddi-routes.ts).
 */
import type { DdiBase, DdiCancelAction, DdiDeployment } from '@holdfast/protos/ddi/ddi-answers';
import {
  type DdiConfigData,
  type DdiFacts,
  ddiFactsOf,
} from '@holdfast/protos/ddi/ddi-config-data';
import type { DdiFeedback } from '@holdfast/protos/ddi/ddi-feedback';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { Devices } from '../../devices/devices.js';
import type { ExecutionReport, ExecutionView } from '../../updates/device-executions.js';
import type { Updates } from '../../updates/updates.js';
import { type DdiAttributesDeps, reportAttributes } from './ddi-attributes.js';
import type { DdiLinks } from './ddi-links.js';
import { DdiMemory } from './ddi-memory.js';
import { DdiPresence } from './ddi-presence.js';
import { artifactName, deploymentAnswer, type WeakDigests } from './deployment-answer.js';
import { meaningOf } from './feedback-meaning.js';
import { findExecution } from './find-execution.js';

export interface DdiDoorDeps extends DdiAttributesDeps {
  readonly updates: Pick<
    Updates,
    | 'campaigns'
    | 'executionOf'
    | 'executionsOf'
    | 'hasWork'
    | 'heard'
    | 'report'
    | 'seen'
    | 'settled'
    | 'windowWait'
  >;
  readonly devices: Pick<Devices, 'get' | 'connected' | 'disconnected' | 'seen' | 'learned'>;
  readonly digests: { of(sha256: string): Promise<WeakDigests> };
  /** Ms that never run back. */
  readonly monotonic: () => number;
  readonly log: StoreLog;
}

export interface DdiDoorOptions {
  /** How long devices sleep between two questions, s; while something is under way or waits for one of them, and else. */
  readonly pollS: number;
  readonly waitingPollS: number;
}

/** A device that was away is given what waits for it at once, if that takes no longer, ms. */
const settlingMs = 2_000;

export class DdiDoor {
  readonly #deps: DdiDoorDeps;
  readonly #options: DdiDoorOptions;
  readonly #presence: DdiPresence;
  readonly #memory = new DdiMemory();

  constructor(deps: DdiDoorDeps, options: DdiDoorOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#presence = new DdiPresence(deps);
  }

  open(): void {
    this.#presence.open();
  }

  /** Idempotent. */
  close(): void {
    this.#presence.close();
  }

  /** `GET base`. */
  async poll(device: string, links: DdiLinks): Promise<DdiBase> {
    await this.#hear(device);
    const givenUp = this.#givenUp(device);
    const view = givenUp === undefined ? await this.#current(device) : undefined;
    if (view !== undefined) this.#memory.asked(view);
    const isClaimed = view?.execution.claimed === true;
    const isInstalled = view !== undefined && isInstalledSaid(view);
    // SWUpdate tells it at its start, asked or not: while one waits to be restarted, that tells the start.
    const wantsData = isClaimed || (!isInstalled && !this.#memory.hasTold(device));
    const offered =
      givenUp === undefined
        ? view && this.#offer(view, links)
        : { cancelAction: { href: links.cancel(givenUp) } };
    const _links = { ...offered, ...(wantsData && { configData: { href: links.configData } }) };
    this.#memory.wasAsked(device, wantsData);
    return {
      config: { polling: { sleep: clockTime(this.#sleepS(device)) } },
      ...(Object.keys(_links).length > 0 && { _links }),
    };
  }

  /** `GET deploymentBase/{id}`. Errors: RESOURCE_NOT_FOUND when it is not, or no longer, for this device. */
  async deployment(device: string, number: number, links: DdiLinks): Promise<DdiDeployment> {
    await this.#hear(device);
    const view = await this.#live(device, number);
    if (view.image === null || !(this.#isShown(view) || view.execution.status === 'cancelling')) {
      throw notFound(number);
    }
    return this.#answer(view, view.image, links);
  }

  /** `GET installedBase/{id}`: what became of it. */
  async installed(device: string, number: number, links: DdiLinks): Promise<DdiDeployment> {
    const found = await this.#find(device, number);
    if (found === undefined || found.view.image === null) throw notFound(number);
    const { view } = found;
    if (!isTerminal(view.execution.status) && !view.execution.claimed) throw notFound(number);
    return this.#answer(view, found.view.image, links);
  }

  /** `POST deploymentBase/{id}/feedback`. Resolves after the commit. Errors: RESOURCE_NOT_FOUND, EXECUTION_OVER. */
  async feedback(device: string, number: number, feedback: DdiFeedback): Promise<void> {
    await this.#hear(device);
    if (this.#givenUp(device) === number) {
      this.#memory.of({ device, number }).isOver = isFinal(feedback);
      throw new HoldfastError('EXECUTION_OVER', `action ${number} was taken back`);
    }
    const view = await this.#newest(device, number);
    const memory = this.#memory.of(view);
    memory.say(feedback.details);
    const meaning = meaningOf(feedback, {
      ...memory,
      isInstalled: memory.isInstalled || isInstalledSaid(view),
    });
    if (meaning === undefined) return;
    const { isAfterRestart, status, ...said } = meaning;
    const isEnd = ['succeeded', 'failed', 'rolled_back', 'cancelled', 'rebooting'].includes(status);
    // It has not asked since, and does not know. What it does till then is no answer to it.
    if (view.execution.status === 'cancelling' && !isEnd) return;
    const version = view.execution.toVersion;
    await this.#report(view, {
      ...said,
      status,
      boot: runOf(view, isAfterRestart),
      ...(isAfterRestart && status === 'succeeded' && { version }),
    });
    memory.hasBegun = true;
    memory.isOver = isFinal(feedback);
    if (status === 'rebooting') memory.waitsForRestart();
    if (status === 'succeeded' && isAfterRestart && view.image !== null) {
      this.#deps.devices.learned(device, { firmwareVersion: version });
    }
  }

  /** `GET cancelAction/{id}`. Errors: RESOURCE_NOT_FOUND. */
  async cancelAction(device: string, number: number): Promise<DdiCancelAction> {
    await this.#hear(device);
    if (this.#givenUp(device) !== number) {
      const view = await this.#live(device, number);
      if (view.execution.status !== 'cancelling') throw notFound(number);
    }
    return { id: String(number), cancelAction: { stopId: String(number) } };
  }

  /** `POST cancelAction/{id}/feedback`. Resolves after the commit. Errors: RESOURCE_NOT_FOUND, EXECUTION_OVER. */
  async cancelFeedback(device: string, number: number, feedback: DdiFeedback): Promise<void> {
    await this.#hear(device);
    const { execution, finished } = feedback;
    const isOver = execution === 'closed' || execution === 'canceled';
    if (this.#givenUp(device) === number) {
      // Whether it gives it up too or cannot: here it is over.
      this.#memory.of({ device, number }).isOver = isOver || execution === 'rejected';
      return;
    }
    const view = await this.#newest(device, number);
    const memory = this.#memory.of(view);
    memory.say(feedback.details);
    if (execution === 'rejected') {
      // It goes on with what it began, and is let: how that ends counts.
      memory.refusedCancel = true;
      return;
    }
    if (!isOver) return;
    memory.isOver = true;
    const error = feedback.details.join('; ').slice(0, 500);
    await this.#report(view, {
      status: finished === 'failure' ? 'failed' : 'cancelled',
      ...(finished === 'failure' && { error: error || 'the device could not cancel it' }),
    });
  }

  /** `PUT configData`. Resolves after the commit. Errors: those of `reportAttributes`. */
  async configData(device: string, said: DdiConfigData): Promise<void> {
    await this.#hear(device);
    await reportAttributes(this.#deps, device, said);
    const isStart = !this.#memory.told(device);
    if (said.mode !== 'remove') await this.#learn(device, ddiFactsOf(said.data), isStart);
  }

  /** `PUT installedBase`: what it says it runs. */
  async runs(device: string, version: string): Promise<void> {
    await this.#hear(device);
    await this.#learn(device, { version }, false);
  }

  /** What a device may load now; it has begun to when this resolves. Errors: RESOURCE_NOT_FOUND. */
  async artifact(device: string, number: number, fileName: string): Promise<FirmwareBody> {
    const image = await this.#image(device, number);
    if (artifactName(image) !== fileName) throw notFound(number);
    return image;
  }

  async artifacts(device: string, number: number): Promise<readonly FirmwareBody[]> {
    return [await this.#image(device, number)];
  }

  /** It has begun to load what `artifact` gave. */
  async loads(device: string, number: number): Promise<void> {
    this.#presence.asked(device, this.#sleepS(device) * 1_000);
    const view = this.#deps.updates.executionsOf(device).find((one) => one.number === number);
    if (view?.execution.status !== 'offered') return;
    await this.#report(view, { status: 'downloading', boot: runOf(view, false) });
    this.#memory.of(view).hasBegun = true;
  }

  /** Whether what it loads is still for it. */
  mayLoad(device: string, number: number): boolean {
    return this.#deps.updates.executionsOf(device).some((one) => one.number === number);
  }

  /** It has it to the last byte. */
  async hasLoaded(device: string, number: number): Promise<void> {
    const view = this.#deps.updates.executionsOf(device).find((one) => one.number === number);
    if (view === undefined) return;
    this.#memory.of(view).hasLoaded = true;
    if (view.execution.status !== 'downloading') return;
    await this.#report(view, { status: 'verifying', boot: runOf(view, false) });
  }

  async #hear(device: string): Promise<void> {
    const { updates, log } = this.#deps;
    const wasAway = this.#presence.asked(device, this.#sleepS(device) * 1_000);
    await updates.heard(device, 'ddi');
    if (!wasAway) return;
    try {
      await withDeadline(updates.settled(), settlingMs, { doing: 'looking for its updates' });
    } catch (err) {
      log.warn({ err, device }, 'what waits for a device is offered later');
    }
  }

  /** What it is to do now. A plain job is no firmware, which is all that these words can tell. */
  async #current(device: string): Promise<ExecutionView | undefined> {
    for (const view of this.#deps.updates.executionsOf(device)) {
      if (view.execution.door !== 'ddi') continue;
      if (view.image !== null) return view;
      if (view.execution.status !== 'offered') continue;
      await this.#report(view, {
        status: 'failed',
        error: "hawkBit's interface has no words for a job without firmware",
      });
    }
    return undefined;
  }

  #offer(view: ExecutionView, links: DdiLinks): DdiBase['_links'] {
    const { execution, number } = view;
    const { isInstalled, refusedCancel } = this.#memory.of(view);
    // What waits for its restart with the new version will run it: nobody takes that back by asking.
    if (execution.status === 'cancelling' && !isInstalled && !refusedCancel) {
      return { cancelAction: { href: links.cancel(number) } };
    }
    if (!this.#isShown(view)) return undefined;
    return { deploymentBase: { href: links.deployment(number, keyOf(view)) } };
  }

  /** Whether it is shown: not while the windows are closed, once it is begun, and no more to a device that says it is done. */
  #isShown({ device, execution }: ExecutionView): boolean {
    if (execution.claimed) return false;
    return execution.status !== 'offered' || this.#deps.updates.windowWait(device) === undefined;
  }

  async #answer(view: ExecutionView, image: FirmwareBody, links: DdiLinks): Promise<DdiDeployment> {
    return deploymentAnswer({
      ...{ number: view.number, image, links },
      digests: await this.#deps.digests.of(image.sha256),
      messages: this.#memory.of(view).messages,
      status: view.execution.status.toUpperCase(),
    });
  }

  async #learn(device: string, facts: DdiFacts, isStart: boolean): Promise<void> {
    const { devices, updates } = this.#deps;
    const { model, hardware, version, serialNo } = facts;
    const known = devices.get(device);
    devices.learned(device, {
      // What it was enrolled as counts: an attribute is easily copied from the device beside it.
      ...(model !== undefined && (known?.model ?? '') === '' && { model }),
      ...(serialNo !== undefined && (known?.serialNo ?? '') === '' && { serialNo }),
      ...(hardware !== undefined && { hardware }),
      ...(version !== undefined && { firmwareVersion: version }),
    });
    if (version === undefined) return;
    for (const view of updates.executionsOf(device)) {
      if (view.execution.door !== 'ddi') continue;
      const isNew = version === view.execution.toVersion;
      const waits = view.execution.claimed || isInstalledSaid(view);
      // The version before says something only where a process that has just begun says it.
      if (!waits || !(isNew || (isStart && isInstalledSaid(view)))) continue;
      await updates.seen(device, 'ddi', runOf(view, true), version);
    }
  }

  async #report(view: ExecutionView, said: Omit<ExecutionReport, 'door'>): Promise<void> {
    const { updates } = this.#deps;
    const answer = await updates.report(view.device, view.campaign.id, { door: 'ddi', ...said });
    if (answer.accepted) return;
    throw answer.reason === 'not_found'
      ? notFound(view.number)
      : new HoldfastError('EXECUTION_OVER', answer.message);
  }

  #givenUp(device: string): number | undefined {
    return this.#memory.givenUp(device, this.#deps.updates.executionsOf(device));
  }

  #find(device: string, number: number) {
    return findExecution(this.#deps.updates, device, number);
  }

  async #image(device: string, number: number): Promise<FirmwareBody> {
    const { image } = await this.#live(device, number);
    if (image === null) throw notFound(number);
    return image;
  }

  async #live(device: string, number: number): Promise<ExecutionView> {
    const found = await this.#find(device, number);
    if (found?.isNewest !== true || isTerminal(found.view.execution.status)) throw notFound(number);
    if (found.view.execution.status === 'queued') throw notFound(number);
    return found.view;
  }

  /** Also one that is over, whose outcome may be told twice. */
  async #newest(device: string, number: number): Promise<ExecutionView> {
    const found = await this.#find(device, number);
    if (found === undefined) throw notFound(number);
    if (found.isNewest) return found.view;
    throw new HoldfastError('EXECUTION_OVER', `action ${number} is over`);
  }

  #sleepS(device: string): number {
    const { pollS, waitingPollS } = this.#options;
    return this.#deps.updates.hasWork(device) ? Math.min(pollS, waitingPollS) : pollS;
  }
}

/** It says that everything is installed, and that it waits for its restart. */
const isInstalledSaid = ({ execution }: ExecutionView): boolean =>
  !execution.claimed && execution.furthest === 'rebooting';

/** It will say no more of it. */
const isFinal = ({ execution }: DdiFeedback): boolean =>
  execution === 'closed' || execution === 'rejected' || execution === 'canceled';

/** These clients name no runs: what is known is whether one has begun since. */
const runOf = ({ number }: ExecutionView, isAfterRestart: boolean): string =>
  `${number}:${isAfterRestart ? 2 : 1}`;

const keyOf = ({ image }: ExecutionView): string => image?.sha256.slice(0, 8) ?? '';

const notFound = (number: number): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', `there is no action ${number} for this device`);

/** HH:mm:ss. */
const clockTime = (seconds: number): string =>
  [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
