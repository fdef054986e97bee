/** A site whose gateway has lines of its own, for tests: everything of a gateway but the broker and the link, over real databases. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedGpio } from '@holdfast/devices/gpio/simulated-gpio';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import { systemClock } from '@holdfast/provisioning/time/clock';
import type { Test } from 'tap';
import type { DispatchDeviceEvent } from '../../devices/device-events.js';
import { openDevices } from '../../devices/devices.js';
import { createDispatch } from '../../devices/dispatch.js';
import { Lifecycles } from '../../devices/lifecycles.js';
import { openFence } from '../../link/fence.js';
import { shadowChanged } from '../../shadows/shadow-change.js';
import { performShadowChanges } from '../../shadows/shadow-effects.js';
import { openShadows } from '../../shadows/shadows.js';
import { openSite } from '../../store/site.js';
import type { SiteStore } from '../../store/site-store.js';
import { Revocations } from '../../trust/revocations.js';
import type { GatewayGpioLine } from './gpio-configuration.js';
import { openGpioDoor } from './open-gpio-door.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const folderOf = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'gpio-door-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

export type GpioSite = Awaited<ReturnType<typeof openGpioSite>>;

/** Opened again on the same folder it is the same site after a restart; `gpio` is its hardware. */
export const openGpioSite = async (
  t: Test,
  dataDir: string,
  lines: readonly GatewayGpioLine[],
  gpio = new SimulatedGpio(),
  options: { readonly lookEveryMs?: number } = {},
) => {
  const clock = systemClock();
  const device = 'cabinet';
  const closers: (() => Promise<void>)[] = [];
  const onClose = (_name: string, close: () => Promise<void>) => void closers.unshift(close);
  const fail = (error: unknown) => t.fail(String(error));
  let refusal: Error | undefined;
  let hang: Promise<void> | undefined;
  const waiting = new Set<() => void>();
  const note = (): void => {
    for (const wake of waiting) wake();
    waiting.clear();
  };
  const opened = await openSite(
    { log, clock, onClose, fail },
    { dataDir, telemetryBudgetBytes: 64 * 1024 * 1024 },
  );
  const site: SiteStore = {
    read: opened.site.read,
    commit: async (write) => {
      await hang;
      if (refusal !== undefined) throw refusal;
      await opened.site.commit(write).finally(() => setImmediate(note));
    },
  };
  const fence = await openFence({ store: site, clock }, 1);
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 20 });
  onClose('devices', () => devices.close());
  const revocations = await Revocations.open({ site, clock, log });
  const lifecycles = new Lifecycles({
    ...{ site, devices, revocations, clock, log },
    inactiveAfterMs: () => 604_800_000,
  });
  const shadows = await openShadows({ site, clock, log: opened.store.log });
  onClose('shadows', () => shadows.close());
  const nothing = async (): Promise<never> => {
    throw new Error('nobody asks this here');
  };
  const answered: string[] = [];
  const inner = createDispatch({
    ...{ devices, telemetry: opened.telemetry, shadows, clock },
    updates: { asked: nothing, updated: nothing, reported: nothing, seen: async () => undefined },
    commands: {
      answered: async (_, command, { status }) => void answered.push(`${command} ${status}`),
    },
  });
  const dispatch: DispatchDeviceEvent = (event) => inner(event).finally(() => setImmediate(note));
  const door = openGpioDoor(
    { gpio, dispatch, shadows, site, fence, lifecycles, clock, log },
    { device, lines, version: '1.0.0', ...options },
  );
  if (door === undefined) throw new Error('these lines are no device');
  opened.outbox.register(shadowChanged, performShadowChanges([door]));
  opened.outbox.start();
  onClose('outbox', () => opened.outbox.close());
  door.open();
  onClose('door', () => door.close());
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    for (const each of closers) await each();
  };
  t.teardown(close);
  const key = { device, name: classicShadow };
  return {
    ...{ door, gpio, fence, devices, shadows, lifecycles, answered, close },
    desire: (desired: JsonObject) =>
      shadows.request({ ...key, type: 'update', patch: { desired }, writer: 'site:anna' }),
    reported: async () => (await shadows.get(key))?.state.reported,
    /** The disk takes nothing more, or does again. */
    refuseWrites: (error: Error | undefined): void => {
      refusal = error;
    },
    /** The disk says neither yes nor no, until what it gives is called. */
    hangWrites: (): (() => void) => {
      let release: () => void = () => undefined;
      hang = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
    /** Resolves as soon as `look` says so; asked after everything that is committed, and that happens to a line. */
    until: async (look: () => Promise<boolean> | boolean): Promise<void> => {
      while (!(await look())) {
        await Promise.race([
          new Promise<void>((resolve) => waiting.add(resolve)),
          gpio.until(changedOnce()),
        ]);
      }
    },
    points: async () =>
      (
        await opened.telemetry.store.read.all<{ body: string }>(
          "SELECT body FROM journal_telemetry WHERE kind = 'point' ORDER BY seq",
        )
      ).map(({ body }) => JSON.parse(body) as { series: string; value: number }),
  };
};

const changedOnce = () => {
  let isAsked = false;
  return () => {
    const before = isAsked;
    isAsked = true;
    return before;
  };
};
