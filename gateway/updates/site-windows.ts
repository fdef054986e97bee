/**
 * The maintenance windows of the site: when firmware may be fetched, when an update may be offered to a device, and when it may begin to
 * install.
 *
 * A device for which no window of a kind was named is free in that respect. While the time is not known, windows count as closed or as
 * open, as the site wants it.
 */
import type { Clock } from '@holdfast/provisioning/time/clock';
import {
  isOpenAt,
  machineZone,
  nextOpening,
  type Opening,
  type OpeningTimes,
} from '@holdfast/provisioning/time/opening-times';
import { wallTime } from '@holdfast/provisioning/time/wall-time';

export const windowUses = ['download', 'install', 'fetch'] as const;
export type WindowUse = (typeof windowUses)[number];
/** Unless it says otherwise: windows are about devices, and few sites have a WAN that is dear at some hours. */
export const usualUses: readonly WindowUse[] = ['download', 'install'];

export interface MaintenanceWindow extends OpeningTimes {
  readonly name: string;
  readonly for: readonly WindowUse[];
  /** With all three empty it is for every device. */
  readonly groups: readonly string[];
  readonly models: readonly string[];
  readonly devices: readonly string[];
}

export interface SiteWindowsOptions {
  readonly windows: readonly MaintenanceWindow[];
  /** IANA's name; empty: that of the machine. */
  readonly timeZone: string;
  readonly whenTimeUnknown: 'closed' | 'open';
}

/** Why something has to wait; null where nobody can say until when. */
export interface Closed {
  readonly opening: Opening<MaintenanceWindow> | null;
  /** In a sentence after "it": `waits for the window nights, which opens at …`. */
  readonly reason: string;
}

/** A window as people are shown it. */
export interface WindowState {
  readonly name: string;
  readonly for: readonly WindowUse[];
  readonly groups: readonly string[];
  readonly models: readonly string[];
  readonly devices: readonly string[];
  readonly isOpen: boolean;
  /** Epoch ms; null while the time is not known, or where it never opens. */
  readonly opensAt: number | null;
  readonly closesAt: number | null;
}

export interface Concerned {
  readonly device: string;
  readonly model: string | null;
  /** Ids of the groups that it is in. */
  readonly groups?: ReadonlySet<string>;
}

export class SiteWindows {
  readonly #clock: Clock;
  readonly #windows: readonly MaintenanceWindow[];
  readonly #whenTimeUnknown: 'closed' | 'open';
  readonly zone: string;
  /** Good until one of them opens or closes: whoever looks at many devices looks once. */
  #known: { readonly from: number; readonly to: number; readonly openings: Openings } | undefined;

  constructor({ clock }: { readonly clock: Clock }, options: SiteWindowsOptions) {
    this.#clock = clock;
    this.#windows = options.windows;
    this.#whenTimeUnknown = options.whenTimeUnknown;
    this.zone = options.timeZone === '' ? machineZone() : options.timeZone;
  }

  /** Whether windows count as closed because nobody knows the time. */
  get isTimeMissing(): boolean {
    return this.#windows.length > 0 && !this.#clock.trusted;
  }

  /** What keeps the device from it now; undefined when nothing does. */
  closed(use: WindowUse, { device, model, groups }: Concerned): Closed | undefined {
    const mine = this.#windows.filter(
      (window) =>
        window.for.includes(use) &&
        ((window.models.length === 0 &&
          window.devices.length === 0 &&
          window.groups.length === 0) ||
          window.groups.some((group) => groups?.has(group) === true) ||
          window.devices.includes(device) ||
          (model !== null && window.models.includes(model))),
    );
    if (mine.length === 0) return undefined;
    if (!this.#clock.trusted) {
      if (this.#whenTimeUnknown === 'open') return undefined;
      return { opening: null, reason: 'waits until the time is known: windows are closed so long' };
    }
    const now = this.#clock.now();
    const openings = this.#openings(now);
    let next: Opening<MaintenanceWindow> | undefined;
    for (const window of mine) {
      const opening = openings.get(window);
      if (opening === undefined) continue;
      if (isOpenAt(opening, now)) return undefined;
      if (next === undefined || opening.opensAt < next.opensAt) next = opening;
    }
    if (next === undefined) {
      const names = mine.map(({ name }) => name).join(', ');
      return { opening: null, reason: `waits for the window ${names}, which never opens` };
    }
    const when = wallTime(next.opensAt, this.zone);
    return {
      opening: next,
      reason: `waits for the window ${next.window.name}, which opens at ${when} (${this.zone})`,
    };
  }

  /** All of them, as they are now. */
  states(): WindowState[] {
    const isKnown = this.#clock.trusted;
    const now = this.#clock.now();
    const openings = isKnown ? this.#openings(now) : new Map();
    return this.#windows.map((window) => {
      const opening = openings.get(window);
      return {
        name: window.name,
        for: window.for,
        groups: window.groups,
        models: window.models,
        devices: window.devices,
        isOpen: isKnown
          ? opening !== undefined && isOpenAt(opening, now)
          : this.#whenTimeUnknown === 'open',
        opensAt: opening?.opensAt ?? null,
        closesAt: opening?.closesAt ?? null,
      };
    });
  }

  #openings(now: number): Openings {
    if (this.#known !== undefined && now >= this.#known.from && now < this.#known.to) {
      return this.#known.openings;
    }
    const openings = new Map<MaintenanceWindow, Opening<MaintenanceWindow>>();
    let to = Number.POSITIVE_INFINITY;
    for (const window of this.#windows) {
      const opening = nextOpening([window], now, this.zone);
      if (opening === undefined) continue;
      openings.set(window, opening);
      to = Math.min(to, isOpenAt(opening, now) ? opening.closesAt : opening.opensAt);
    }
    this.#known = { from: now, to, openings };
    return openings;
  }
}

type Openings = ReadonlyMap<MaintenanceWindow, Opening<MaintenanceWindow>>;
