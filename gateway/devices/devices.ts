/**
 * The devices of the site: who is enrolled, who is connected, what each runs.
 *
 * It is held in memory and followed by the database and the journal: a change is written within a second, together with others of
 * the same device, and when a device was last seen only now and then, so that telemetry costs no write here. What enrolment commits
 * is taken up after its commit.
 */
import type { Door } from '@holdfast/protos/link/door';
import type { HybridTime } from '@holdfast/protos/semantics/hybrid-clock';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Append, Statement, Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';
import type { AdmittedDevice } from '../trust/enrolment-write.js';
import { type Device, type DeviceFacts, isOnline, newDevice } from './device.js';
import { type DeviceRow, deviceOf, writeDevice, writeLifecycle } from './device-rows.js';
import { type DeviceLifecycle, enrolledLifecycle } from './lifecycle.js';
import { lifecycleEntry } from './lifecycle-entry.js';

export interface DevicesDeps {
  /** When the plan's decision on a device was made, if it has one. */
  readonly plannedDecision?: (device: string) => HybridTime | undefined;
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface DevicesOptions {
  /** How long changes are gathered before they are written, ms. */
  readonly writeAfterMs?: number;
  /** How old the written time of the last sign of life may become, ms. */
  readonly lastSeenEveryMs?: number;
}

export interface DeviceChange {
  readonly device: Device;
  readonly before: Device | undefined;
}

/** What a serial line says of its device, for which the gateway vouches. */
export interface Vouched {
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  /** The wire it hangs on. */
  readonly door: Door;
}

/** Devices written in one commit. */
const mostAtOnce = 200;

export class Devices {
  readonly #deps: DevicesDeps;
  readonly #options: Required<DevicesOptions>;
  readonly #devices = new Map<string, Device>();
  readonly #sessions = new Map<string, Set<string>>();
  readonly #changed = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #listeners = new Set<(change: DeviceChange) => void>();
  readonly #leaving = new Set<string>();
  readonly #heardListeners = new Set<(device: string) => void>();
  readonly #goneListeners = new Set<(device: string) => void>();
  #timer: NodeJS.Timeout | undefined;
  readonly #startTimer: NodeJS.Timeout;
  readonly #slowTimer: NodeJS.Timeout;
  #writing: Promise<void> = Promise.resolve();

  /** Use `openDevices`. */
  constructor(deps: DevicesDeps, options: DevicesOptions, devices: readonly Device[]) {
    this.#deps = deps;
    this.#options = { writeAfterMs: 1_000, lastSeenEveryMs: 300_000, ...options };
    const wereOnline = devices.filter(isOnline).map(({ device }) => device);
    // Nobody is connected to a gateway that just started; who comes back soon is never told as gone.
    for (const device of devices) this.#devices.set(device.device, { ...device, session: null });
    this.#startTimer = setTimeout(() => {
      for (const device of wereOnline) this.#changed.add(device);
      this.#writeLater();
    }, 30 * this.#options.writeAfterMs).unref();
    this.#slowTimer = setInterval(() => {
      for (const device of this.#seen) this.#changed.add(device);
      if (this.#changed.size > 0) this.#writeLater();
      this.#seen.clear();
    }, this.#options.lastSeenEveryMs).unref();
  }

  get(device: string): Device | undefined {
    return this.#devices.get(device);
  }

  all(): Device[] {
    return [...this.#devices.values()];
  }

  count(): { readonly total: number; readonly online: number } {
    let online = 0;
    for (const device of this.#devices.values()) if (isOnline(device)) online += 1;
    return { total: this.#devices.size, online };
  }

  /** Told of every change of a device but its last sign of life. Returns how to stop it. */
  onChange(listener: (change: DeviceChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  connected(device: string, session: string, facts: DeviceFacts = {}): void {
    const sessions = this.#sessions.get(device) ?? new Set();
    this.#sessions.set(device, sessions.add(session));
    this.#change(device, { ...facts, session, ...this.#now() });
  }

  disconnected(device: string, session: string): void {
    const sessions = this.#sessions.get(device);
    if (!sessions?.delete(session)) return;
    if (sessions.size === 0) this.#sessions.delete(device);
    this.#change(device, {
      session: [...sessions].at(-1) ?? null,
      lastSeen: this.#deps.clock.now(),
      heardMs: this.#deps.clock.monotonic(),
    });
  }

  /** Any sign of life; called for every message, so it does next to nothing. */
  seen(device: string): void {
    const known = this.#devices.get(device);
    if (known === undefined) return;
    // In place: a copy for every message would be the larger part of its cost here.
    const { clock } = this.#deps;
    const heard = known as { lastSeen: number | null; heardMs: number | null };
    heard.lastSeen = clock.now();
    heard.heardMs = clock.monotonic();
    this.#seen.add(device);
    if (known.lifecycle.state !== 'active') this.#heard(device);
  }

  /** Told of every device that was forgotten. Returns how to stop it. */
  onGone(listener: (device: string) => void): () => void {
    this.#goneListeners.add(listener);
    return () => this.#goneListeners.delete(listener);
  }

  /** Told of a sign of life of a device whose lifecycle is another than `active`. Returns how to stop it. */
  onHeard(listener: (device: string) => void): () => void {
    this.#heardListeners.add(listener);
    return () => this.#heardListeners.delete(listener);
  }

  /** Its lifecycle is another from now on: `writeOf` is for the write that it is committed with. */
  moved(device: string, lifecycle: DeviceLifecycle): void {
    const known = this.#devices.get(device) ?? newDevice(device, 'native', lifecycle.since);
    this.#set({ ...known, lifecycle });
  }

  readonly moveWrite = (device: string, lifecycle: DeviceLifecycle): Write => {
    const known = this.#devices.get(device) ?? newDevice(device, 'native', lifecycle.since);
    const moved = { ...known, lifecycle };
    return [writeDevice(this.#dated(moved)), writeLifecycle(moved)];
  };

  /** Forgets a device; `commit` removes its row, after which nothing that was still to be written may bring it back. */
  async forget(device: string, commit: () => Promise<void>): Promise<void> {
    this.#leaving.add(device);
    try {
      await commit();
      this.#devices.delete(device);
      this.#sessions.delete(device);
      this.#changed.delete(device);
      this.#seen.delete(device);
      for (const listener of this.#goneListeners) listener(device);
    } finally {
      this.#leaving.delete(device);
    }
  }

  learned(device: string, facts: DeviceFacts): void {
    this.#change(device, { ...facts, ...this.#now() });
  }

  /** Enrolment's write gets the device with it; `admitted` follows after the commit. */
  readonly admit = (admitted: AdmittedDevice, at: number): Write => {
    const device = this.#admittedOf(admitted, at);
    const before = this.#devices.get(device.device)?.lifecycle;
    return [
      writeDevice(device),
      writeLifecycle(device),
      lifecycleEntry(device.device, before, device.lifecycle, at),
    ];
  };

  readonly admitted = (admitted: AdmittedDevice, at: number): void => {
    this.#set(this.#admittedOf(admitted, at));
  };

  /** A device on a wire is a device of the site from its first hello on; committed when this resolves. */
  async vouch({ device, model, serialNo, door }: Vouched): Promise<void> {
    const known = this.#devices.get(device);
    if (known?.door === door) {
      this.learned(device, { model, serialNo });
      return;
    }
    const at = this.#deps.clock.now();
    const row: Device = {
      ...newDevice(device, door, at),
      ...{ model, serialNo },
      lifecycle: this.#enrolled(device, at),
    };
    await this.#deps.site.commit([
      writeDevice(row),
      writeLifecycle(row),
      lifecycleEntry(device, known?.lifecycle, row.lifecycle, at),
      journalEntry(
        'audit',
        'device_enrolled',
        {
          device,
          model,
          serial_no: serialNo,
          door,
          certificate_serial: null,
          claim_hash: null,
        },
        at,
      ),
    ]);
    this.#set(row);
  }

  /** Writes what has changed; resolves after the commit. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  /** Resolves when what is known of a device now is on disk. Errors: those of the store. */
  async stored(device: string): Promise<void> {
    const stored = this.#writing.then(() => this.#store(device));
    this.#writing = stored.catch(() => undefined);
    await stored;
  }

  /** Writes what is left. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#slowTimer);
    clearTimeout(this.#startTimer);
    await this.flush();
    clearTimeout(this.#timer);
  }

  /** Enrolled anew, it keeps nothing of what it was but its connection. */
  #admittedOf(admitted: AdmittedDevice, at: number): Device {
    const { device, model, serialNo, firmwareVersion, door = 'native' } = admitted;
    const before = this.#devices.get(device);
    return {
      ...newDevice(device, door, at),
      ...{ model, serialNo, firmwareVersion: firmwareVersion ?? null },
      session: before?.session ?? null,
      lifecycle: this.#enrolled(device, at),
    };
  }

  #change(device: string, changes: Partial<Device>): void {
    const before = this.#devices.get(device);
    // A certificate of this site proves that it was enrolled here, whatever became of the database since.
    const known = before ?? newDevice(device, changes.door ?? 'native', this.#deps.clock.now());
    const after = { ...known, ...changes };
    if (before !== undefined && isSame(before, after)) {
      this.#devices.set(device, after);
      this.#seen.add(device);
    } else this.#set(after);
    if (after.lifecycle.state !== 'active' && after.session !== null) this.#heard(device);
  }

  #heard(device: string): void {
    for (const listener of this.#heardListeners) listener(device);
  }

  #now(): Pick<Device, 'lastSeen' | 'heardMs'> {
    const { clock } = this.#deps;
    return { lastSeen: clock.now(), heardMs: clock.monotonic() };
  }

  #enrolled(device: string, now: number): DeviceLifecycle {
    const { clock, plannedDecision } = this.#deps;
    const before = this.#devices.get(device)?.lifecycle;
    return enrolledLifecycle(before, plannedDecision?.(device), { now, trusted: clock.trusted });
  }

  /** As it is written: when it was last heard is worth something after a restart only by a clock that is trusted. */
  #dated(device: Device): Device {
    const { clock } = this.#deps;
    if (device.heardMs === null || !clock.trusted) return device;
    const silentMs = Math.round(clock.monotonic() - device.heardMs);
    return { ...device, heardAt: clock.now() - silentMs };
  }

  #set(device: Device): void {
    const before = this.#devices.get(device.device);
    this.#devices.set(device.device, device);
    this.#changed.add(device.device);
    this.#writeLater();
    for (const listener of this.#listeners) listener({ device, before });
  }

  #writeLater(afterMs = this.#options.writeAfterMs): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, afterMs);
  }

  async #store(device: string): Promise<void> {
    const known = this.#devices.get(device);
    if (known === undefined || this.#leaving.has(device) || !this.#changed.has(device)) return;
    this.#changed.delete(device);
    try {
      await this.#deps.site.commit(this.#writeOf(known));
    } catch (error) {
      this.#changed.add(device);
      throw error;
    }
  }

  async #write(): Promise<void> {
    const due = [...this.#changed];
    this.#changed.clear();
    for (let from = 0; from < due.length; from += mostAtOnce) {
      const devices = due
        .slice(from, from + mostAtOnce)
        .flatMap((id) => (this.#leaving.has(id) ? [] : (this.#devices.get(id) ?? [])));
      try {
        await this.#deps.site.commit(devices.flatMap((device) => this.#writeOf(device)));
      } catch (error) {
        // It is all still in memory, and the next change or the next round writes it.
        for (const { device } of devices) this.#changed.add(device);
        this.#deps.log.warn({ err: error }, 'the state of devices could not be written');
      }
    }
  }

  #writeOf(device: Device): (Statement | Append)[] {
    return [
      writeDevice(this.#dated(device)),
      journalEntry(
        'state',
        'device',
        {
          device: device.device,
          online: isOnline(device),
          last_seen: device.lastSeen,
          firmware_version: device.firmwareVersion,
          model: device.model,
          door: device.door,
        },
        this.#deps.clock.now(),
      ),
    ];
  }
}

/** Takes up the devices where they are on disk. */
export const openDevices = async (
  deps: DevicesDeps,
  options: DevicesOptions = {},
): Promise<Devices> => {
  const rows = await deps.site.read.all<DeviceRow>('SELECT * FROM devices');
  return new Devices(deps, options, rows.map(deviceOf));
};

/** Whether nothing is different that anybody waits for; which session it is, is for the running program alone. */
const isSame = (a: Device, b: Device): boolean =>
  a.model === b.model &&
  a.serialNo === b.serialNo &&
  a.door === b.door &&
  a.firmwareVersion === b.firmwareVersion &&
  a.hardware === b.hardware &&
  a.boot === b.boot &&
  a.session === b.session;
