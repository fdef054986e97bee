/** A site with devices on serial lines, for tests: everything of a gateway but the broker and the link, over real databases and lines. */

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findResetLine } from '@holdfast/devices/gpio/reset-line';
import { SimulatedGpio } from '@holdfast/devices/gpio/simulated-gpio';
import type { FlashSettings } from '@holdfast/devices/serial/flash/flash-settings';
import { usualSettings } from '@holdfast/devices/serial/port/port-settings';
import { everyDevice, onePhase, plainCare } from '@holdfast/protos/link/campaign-document';
import type {
  CampaignBody,
  FirmwareBody,
  PlanDocument,
} from '@holdfast/protos/link/plan-documents';
import type { FirmwareRelease } from '@holdfast/provisioning/firmware/manifest';
import { systemClock } from '@holdfast/provisioning/time/clock';
import type { Test } from 'tap';
import type { DispatchDeviceEvent } from '../../devices/device-events.js';
import { openDevices } from '../../devices/devices.js';
import { createDispatch } from '../../devices/dispatch.js';
import { Lifecycles } from '../../devices/lifecycles.js';
import { FirmwareCache } from '../../firmware/firmware-cache.js';
import { Commands } from '../../jobs/commands.js';
import { openFence } from '../../link/fence.js';
import { changesBetween, type PlanChange, type PlanView, viewOf } from '../../link/plan-view.js';
import { shadowChanged } from '../../shadows/shadow-change.js';
import { performShadowChanges } from '../../shadows/shadow-effects.js';
import { openShadows } from '../../shadows/shadows.js';
import { openSite } from '../../store/site.js';
import type { SiteStore } from '../../store/site-store.js';
import type { AccessRefusal } from '../../trust/access-log.js';
import { Revocations } from '../../trust/revocations.js';
import type { FirmwareRefusal } from '../../updates/firmware-releases.js';
import { Updates, type UpdatesDeps } from '../../updates/updates.js';
import { everythingTrusted } from '../../updates/updates-fixture.js';
import { fittingLines } from './flash/fits-line.js';
import {
  LineFlashing,
  type LineFlashingDeps,
  type LineFlashingOptions,
} from './flash/line-flashing.js';
import { SerialDoor, type SerialDoorOptions } from './serial-door.js';
import { SerialLines, type SerialLinesDeps } from './serial-lines.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const usual = { ...usualSettings, driver: 'json-lines' };

export interface TestLine {
  readonly device: string;
  readonly path: string;
  readonly options?: unknown;
  readonly flash?: FlashSettings;
}
export type SerialSite = Awaited<ReturnType<typeof openSerialSite>>;

export interface TestFirmware {
  readonly version: string;
  readonly image: Buffer;
  /** What the release is signed for, where a gateway flashes it. */
  readonly part?: string;
  /** The plan names it, and no campaign installs it. */
  readonly isKnownOnly?: boolean;
}

export interface TestSiteOptions extends Partial<SerialDoorOptions> {
  readonly firmware?: readonly TestFirmware[];
  readonly policy?: Partial<CampaignBody['policy']>;
  /** In place of the ports of this machine. */
  readonly ports?: Pick<SerialLinesDeps, 'openPort' | 'findPort' | 'explain'>;
  readonly flashing?: LineFlashingOptions & Pick<LineFlashingDeps, 'loader'>;
  readonly windows?: UpdatesDeps['windows'];
  /** Why no release is trusted any more; undefined while every one is. */
  readonly recalled?: () => FirmwareRefusal | undefined;
  /** What every commit goes through; one that rejects is none for who asked for it. */
  readonly through?: (commit: () => Promise<void>, isUrgent: boolean) => Promise<void>;
}

export const folderOf = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'serial-door-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

/** Opened again on the same folder it is the same site after a restart. */
export const openSerialSite = async (
  t: Test,
  dataDir: string,
  lines: readonly TestLine[],
  {
    firmware: images = [],
    policy = {},
    ports = {},
    flashing: flashingOptions = {},
    windows,
    recalled = () => undefined,
    through = (commit) => commit(),
    ...options
  }: TestSiteOptions = {},
) => {
  const clock = systemClock();
  const closers: (() => Promise<void>)[] = [];
  const onClose = (_name: string, close: () => Promise<void>) => void closers.unshift(close);
  const fail = (error: unknown) => t.fail(String(error));
  /** How much has happened so far, and who waits for more. */
  let happened = 0;
  const waiting = new Set<() => void>();
  const note = (): void => {
    happened += 1;
    for (const wake of waiting) wake();
    waiting.clear();
  };
  const opened = await openSite(
    { log, clock, onClose, fail },
    { dataDir, telemetryBudgetBytes: 64 * 1024 * 1024 },
  );
  const { outbox, telemetry, store } = opened;
  const site: SiteStore = {
    read: opened.site.read,
    // After those who committed have seen it.
    commit: (write, options) =>
      through(() => opened.site.commit(write, options), options?.isUrgent === true).finally(() =>
        setImmediate(note),
      ),
  };
  const fence = await openFence({ store: site, clock }, 1);
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 20 });
  onClose('devices', () => devices.close());
  devices.onChange(note);
  const revocations = await Revocations.open({ site, clock, log });
  const lifecycles = new Lifecycles({
    ...{ site, devices, revocations, clock, log },
    inactiveAfterMs: () => 604_800_000,
  });
  const shadows = await openShadows({ site, clock, log: store.log });
  onClose('shadows', () => shadows.close());
  const firmware = await openFirmware(join(dataDir, 'firmware'), images);
  onClose('firmware', () => firmware.close());
  const plan = testPlan(images, policy);
  const release = releasesOf(images);
  const nobody = async () => undefined;
  const commands = new Commands(
    {
      site,
      isFenced: () => false,
      outbox,
      devices,
      publish: nobody,
      sendOnLine: (...command) => door.sendCommand(...command),
      clock,
      log,
    },
    { resendAfterMs: 20 },
  );
  const updates = new Updates({
    site,
    outbox,
    plan,
    devices,
    firmware,
    publish: nobody,
    offerOnLine: (...offer) => door.offer(...offer),
    toldOnLine: (device) => flashing.told(device),
    isReachable: (device) => flashing.isReachable(device),
    isFenced: () => fence.isFenced(),
    verdicts: fittingLines(
      { ...everythingTrusted, refusal: recalled },
      {
        release,
        partOf: (device) => flashing.partOf(device),
      },
    ),
    ...(windows && { windows }),
    clock,
    log,
  });
  const inner = createDispatch({ devices, telemetry, shadows, updates, commands, clock });
  const dispatch: DispatchDeviceEvent = (event) => inner(event).finally(() => setImmediate(note));
  const refused: AccessRefusal[] = [];
  const serialLines = new SerialLines({ now: () => clock.now(), log, ...ports });
  const { loader, ...ownTimes } = flashingOptions;
  const flashing = new LineFlashing(
    {
      ...{ site, updates, devices, firmware, fence, lifecycles, clock, log },
      findResetLine: findResetLine({ gpio: new SimulatedGpio() }, []),
      releases: {
        ...{ release, refusal: recalled, refusalByHand: () => undefined },
        isPlanned: () => true,
      },
      ...(loader && { loader }),
    },
    ownTimes,
  );
  const door = new SerialDoor(
    {
      ...{ lines: serialLines, flashing },
      ...{ dispatch, shadows, firmware, fence, lifecycles, clock, log },
      onRefused: (refusal) => refused.push(refusal),
    },
    {
      lines: lines.map((line) => ({ ...line, ...usual })),
      retryDelayMs: () => 20,
      resendAfterMs: 100,
      ...options,
    },
  );
  outbox.register(shadowChanged, performShadowChanges([door]));
  outbox.start();
  onClose('outbox', () => outbox.close());
  await commands.open();
  onClose('commands', () => commands.close());
  await flashing.load();
  await updates.open();
  onClose('updates', () => updates.close());
  door.open();
  onClose('door', () => door.close());

  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    for (const each of closers) await each();
  };
  t.teardown(close);
  return {
    door,
    /** Every line as the status shows it. */
    lines: () => serialLines.list(),
    refused,
    devices,
    shadows,
    commands,
    updates,
    flashing,
    firmware,
    fence,
    plan,
    close,
    /** Changes an image on the disk, behind the back of the cache. */
    damage: (image: Buffer, bytes: Buffer) =>
      writeFile(join(dataDir, 'firmware', sha256Of(image)), bytes),
    /** Resolves as soon as `look` finds something; looked at after whatever devices say and whatever is committed. */
    until: async <T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> => {
      for (;;) {
        const before = happened;
        const found = await look();
        if (found !== undefined) return found;
        if (happened === before) {
          await new Promise<void>((resolve) => {
            waiting.add(resolve);
          });
        }
      }
    },
    /** Every point on disk, as the journal would tell it. */
    points: async () =>
      (
        await telemetry.store.read.all<{ body: string }>(
          "SELECT body FROM journal_telemetry WHERE kind = 'point' ORDER BY seq",
        )
      ).map(({ body }) => JSON.parse(body) as Point),
  };
};

export interface Point {
  readonly device: string;
  readonly series: string;
  readonly value: unknown;
  readonly boot?: string;
  readonly seq?: number;
}

export const sha256Of = (image: Buffer): string => createHash('sha256').update(image).digest('hex');

/** Every image is here already. */
const openFirmware = async (folder: string, images: readonly TestFirmware[]) => {
  await mkdir(folder, { recursive: true });
  for (const { image } of images) await writeFile(join(folder, sha256Of(image)), image);
  const cache = new FirmwareCache(
    { source: { address: 'https://127.0.0.1:1', agent: new Agent() }, log, now: Date.now },
    { folder, quotaBytes: 1 << 30 },
  );
  await cache.open();
  cache.foresee(
    images.map((image) => ({
      ...{ body: firmwareBody(image), isUrgent: false, campaigns: [], bytesPerS: null },
    })),
  );
  return cache;
};

const model = 'serial-simulated';

const firmwareBody = ({ version, image }: TestFirmware): FirmwareBody => ({
  model,
  version,
  sha256: sha256Of(image),
  size_bytes: image.length,
  file_name: 'image.bin',
  path: '/firmware/image.bin',
});

/** Trusts what it is given, each for its part. */
const releasesOf =
  (images: readonly TestFirmware[]) =>
  (body: FirmwareBody): FirmwareRelease | undefined => {
    const known = images.find(({ image }) => sha256Of(image) === body.sha256);
    if (known?.part === undefined) return undefined;
    return {
      target: `${model}/${body.version}/image.bin`,
      manifest: {
        ...{ model, version: body.version, hardware: [], source_versions: '' },
        ...{ security_counter: 0, installer: 'flash', part: known.part },
        ...{ steps: [], image_signatures: [] },
      },
      ...{ sizeBytes: body.size_bytes, sha256: body.sha256, sha1: '', md5: '' },
      signedBy: 'targets',
    };
  };

const campaignBody = (
  firmware: string,
  state: CampaignBody['state'],
  policy: Partial<CampaignBody['policy']>,
): CampaignBody => ({
  state,
  firmware: [firmware],
  document: null,
  started_at: 1,
  target: everyDevice,
  phases: [onePhase],
  allows_older: [],
  resumes: 0,
  policy: {
    site_concurrency: 10,
    retries: 0,
    offer_timeout_ms: 120_000,
    download_timeout_ms: 120_000,
    install_timeout_ms: 120_000,
    confirm_timeout_ms: 120_000,
    ...plainCare,
    ...policy,
  },
});

/** A plan with a running campaign named `c-VERSION` for each firmware. */
const testPlan = (images: readonly TestFirmware[], policy: Partial<CampaignBody['policy']>) => {
  let state: CampaignBody['state'] = 'running';
  const listeners = new Set<(change: PlanChange) => void>();
  const documents = (): PlanDocument[] =>
    images.flatMap((image): PlanDocument[] => {
      const id = `${model}@${image.version}`;
      const firmware = { kind: 'firmware', id, revision: 1, body: firmwareBody(image) } as const;
      if (image.isKnownOnly === true) return [firmware];
      return [
        firmware,
        {
          kind: 'campaign',
          id: `c-${image.version.replaceAll('.', '_')}`,
          revision: 1,
          body: campaignBody(id, state, policy),
        },
      ];
    });
  const current = (): PlanView =>
    viewOf(
      {
        fleet: 'f',
        site: 's',
        generation: 1,
        epoch: 1,
        revision: 1,
        issued_at: 0,
        expires_at: Number.MAX_SAFE_INTEGER,
        grace: 0,
        documents: [],
      },
      documents(),
    );
  return {
    current,
    state: () => 'fresh' as const,
    onChange: (listener: (change: PlanChange) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    cancel: () => {
      const before = current();
      state = 'cancelling';
      for (const listener of listeners) listener(changesBetween(before, current()));
    },
  };
};
