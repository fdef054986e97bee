/**
 * The lives of the site's devices: what people decide here and in the cloud, what follows from silence and from the first sign of
 * life, and who is to be served. Every step is committed with its journal entry; retiring takes the device's certificates with it.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { DeviceBody } from '@holdfast/protos/link/plan-documents';
import {
  isServed,
  type LifecycleDecision,
  type LifecycleEvent,
  type LifecycleState,
} from '@holdfast/protos/semantics/lifecycle';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { removeDeviceRows } from '../broker/broker-rows.js';
import { removeFlash } from '../doors/serial/flash/flash-rows.js';
import { Turns } from '../shadows/turns.js';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import { type RegisteredCertificate, withCertificatesOf } from '../trust/certificate-register.js';
import type { Revocation, Revocations } from '../trust/revocations.js';
import { removeTargetToken } from '../trust/target-token-rows.js';
import { type Device, newDevice } from './device.js';
import { removeDevice } from './device-rows.js';
import type { Devices } from './devices.js';
import { type DeviceLifecycle, decidedElsewhere, decidedHere, observed } from './lifecycle.js';
import { lifecycleEntry } from './lifecycle-entry.js';

export interface LifecyclesDependencies {
  readonly site: SiteStore;
  readonly devices: Devices;
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly log: StoreLog;
  /** How long a device may be silent before it counts as inactive, ms. */
  readonly inactiveAfterMs: () => number;
}

/** A device that is served no more. */
export interface Unserved {
  readonly device: string;
  readonly state: LifecycleState;
  /** What its doors say. */
  readonly error: HoldfastError;
  /** It is not to come back as what it was: what waits for it can go. */
  readonly isGone: boolean;
}

/** A site that was off has heard nobody: silence that is measured by the wall clock counts only after so long a run. */
const listeningMs = 3_600_000;

export class Lifecycles {
  readonly #deps: LifecyclesDependencies;
  readonly #turns = new Turns(1_000);
  readonly #listeners = new Set<(unserved: Unserved) => void>();
  /** Whose sign of life is being written. */
  readonly #reviving = new Set<string>();
  readonly #startedMs: number;

  constructor(deps: LifecyclesDependencies) {
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonic();
    deps.devices.onHeard((device) => this.#heard(device));
  }

  /** Throws DEVICE_DISABLED, DEVICE_RETIRED: before anything a device sends is taken, or it is sent anything. */
  check(device: string): void {
    const state = this.#deps.devices.get(device)?.lifecycle.state;
    if (state !== undefined && !isServed(state)) throw refusalOf(device, state);
  }

  /** Why a device is not served; undefined when it is. */
  readonly refusal = (device: string): string | undefined => {
    const state = this.#deps.devices.get(device)?.lifecycle.state;
    return state === undefined || isServed(state) ? undefined : refusalOf(device, state).message;
  };

  /** Told of devices that are served no more, after the commit: whatever is open to them is to be cut. Returns how to stop it. */
  onUnserved(listener: (unserved: Unserved) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A technician's decision. Errors: RESOURCE_NOT_FOUND, RESOURCE_STATE_WRONG, and those of the store. */
  decide(
    device: string,
    decision: Omit<LifecycleDecision, 'decided_at'>,
  ): Promise<DeviceLifecycle> {
    return this.#turns.take(device, async () => {
      const { lifecycle } = this.#require(device);
      const after = decidedHere(lifecycle, decision, this.#reading());
      if (after === undefined) {
        throw new HoldfastError(
          'RESOURCE_STATE_WRONG',
          `${device} is ${lifecycle.state}: it cannot be ${pastOf[decision.action]}`,
          {
            data:
              lifecycle.state === 'retired'
                ? { next: `a new code brings its id back: holdfast device claim ${device}` }
                : {},
          },
        );
      }
      await this.#move(device, lifecycle, after);
      return after;
    });
  }

  /** What the plan says of devices; at the start and at each plan. Resolves after the commits. */
  async follow(
    documents: Iterable<{ readonly id: string; readonly body: DeviceBody }>,
  ): Promise<void> {
    for (const { id, body } of documents) {
      await this.#turns.take(id, () => this.#follow(id, body));
    }
  }

  /** Notes who has been silent for too long. Cheap; to be called every minute or so. */
  async checkSilence(): Promise<void> {
    const silent = this.#deps.devices
      .all()
      .filter((device) => device.lifecycle.state === 'active' && this.#isSilent(device));
    await Promise.all(silent.map(({ device }) => this.#observe(device, 'silent')));
  }

  /** Resolves when nothing is under way. */
  close(): Promise<void> {
    return this.#turns.idle();
  }

  async #follow(device: string, { lifecycle: decision, removed }: DeviceBody): Promise<void> {
    const { devices } = this.#deps;
    const known = devices.get(device);
    // One that the site has forgotten, by an accident, stays refused; and what is enabled needs no row.
    if (known === undefined && !removed && (decision?.action ?? 'enable') === 'enable') return;
    const before =
      known?.lifecycle ?? newDevice(device, 'native', this.#deps.clock.now()).lifecycle;
    const after = decision && decidedElsewhere(before, decision, this.#deps.clock.now());
    if (removed) {
      if (known === undefined || after?.state === 'retired') await this.#remove(device, after);
    } else if (after !== undefined) await this.#move(device, before, after);
  }

  #require(device: string): Device {
    const known = this.#deps.devices.get(device);
    if (known !== undefined) return known;
    throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no device ${device} at this site`, {
      data: { next: 'holdfast --gateway device list' },
    });
  }

  #heard(device: string): void {
    if (this.#reviving.has(device)) return;
    this.#reviving.add(device);
    this.#observe(device, 'heard')
      .catch((err: unknown) =>
        this.#deps.log.warn({ err, device }, 'a sign of life could not be written'),
      )
      .finally(() => this.#reviving.delete(device));
  }

  #observe(device: string, event: Extract<LifecycleEvent, 'heard' | 'silent'>): Promise<void> {
    return this.#turns.take(device, async () => {
      const known = this.#deps.devices.get(device);
      if (known === undefined || (event === 'silent' && !this.#isSilent(known))) return;
      const after = observed(known.lifecycle, event, this.#deps.clock.now());
      if (after !== undefined) await this.#move(device, known.lifecycle, after);
    });
  }

  /**
   * By the monotonic clock, as long as this run has listened; across a start by the wall clock, where it is trusted now and was when
   * the device was heard. A device that is connected is not silent.
   */
  #isSilent({ session, heardMs, heardAt }: Device): boolean {
    if (session !== null) return false;
    const { clock, inactiveAfterMs } = this.#deps;
    const limitMs = inactiveAfterMs();
    if (clock.monotonic() - (heardMs ?? this.#startedMs) >= limitMs) return true;
    return (
      heardMs === null &&
      heardAt !== null &&
      clock.trusted &&
      clock.now() - heardAt >= limitMs &&
      clock.monotonic() - this.#startedMs >= Math.min(listeningMs, limitMs)
    );
  }

  async #move(device: string, before: DeviceLifecycle, after: DeviceLifecycle): Promise<void> {
    const { site, devices, revocations, clock } = this.#deps;
    const isRetired = after.state === 'retired';
    const write = (): Write => [
      ...devices.moveWrite(device, after),
      lifecycleEntry(device, before, after, clock.now()),
    ];
    if (isRetired) {
      await withCertificatesOf(site.read, device, async (certificates, asRead) => {
        const revoked = this.#toRevoke(certificates, after.actor);
        await site.commit(
          [
            asRead,
            ...write(),
            ...revocations.writeOf(revoked),
            ...removeDeviceRows(device),
            removeTargetToken(device),
          ],
          { isUrgent: true },
        );
        revocations.take(revoked);
      });
    } else await site.commit(write());
    devices.moved(device, after);
    if (after.state !== before.state && !isServed(after.state)) {
      this.#tell({
        device,
        state: after.state,
        error: refusalOf(device, after.state),
        isGone: isRetired,
      });
    }
  }

  async #remove(device: string, after: DeviceLifecycle | undefined): Promise<void> {
    const { site, devices, revocations, clock } = this.#deps;
    await withCertificatesOf(site.read, device, async (certificates, asRead) => {
      const revoked = this.#toRevoke(certificates, after?.actor ?? 'cloud');
      const write: Write = [
        asRead,
        removeDevice(device),
        ...revocations.writeOf(revoked),
        ...removeDeviceRows(device),
        removeTargetToken(device),
        removeFlash(device),
        // In the lane of what is known of devices: behind everything that was said of this one.
        journalEntry('state', 'device_removed', { device }, clock.now()),
      ];
      await devices.forget(device, () => site.commit(write, { isUrgent: true }));
      revocations.take(revoked);
    });
    const error = refusalOf(device, 'retired');
    this.#tell({ device, state: 'retired', error, isGone: true });
  }

  #toRevoke(certificates: readonly RegisteredCertificate[], actor: string): Revocation[] {
    return this.#deps.revocations.decide(certificates, {
      reason: 'cessation_of_operation',
      actor,
    });
  }

  #tell(unserved: Unserved): void {
    for (const listener of this.#listeners) {
      try {
        listener(unserved);
      } catch (err) {
        this.#deps.log.error({ err }, 'a part could not act on the end of a device');
      }
    }
  }

  #reading(): { readonly now: number; readonly trusted: boolean } {
    const { clock } = this.#deps;
    return { now: clock.now(), trusted: clock.trusted };
  }
}

const pastOf = { enable: 'enabled', disable: 'disabled', retire: 'retired' } as const;

const refusalOf = (device: string, state: LifecycleState): HoldfastError =>
  state === 'retired'
    ? new HoldfastError('DEVICE_RETIRED', `${device} is retired: enrol it with a new code`, {
        data: { next: `holdfast --gateway device claim ${device}` },
      })
    : new HoldfastError('DEVICE_DISABLED', `${device} is disabled`, {
        data: { next: `holdfast --gateway device enable ${device}` },
      });
