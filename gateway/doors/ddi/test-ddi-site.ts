/** A site in one process for tests of hawkBit's device interface: real rows, updates, firmware cache and HTTPS; the plan by hand. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CampaignBody, FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { StampingClock } from '@holdfast/provisioning/time/clock';
import type { Test } from 'tap';
import { openDevices } from '../../devices/devices.js';
import { Lifecycles } from '../../devices/lifecycles.js';
import { FirmwareCache } from '../../firmware/firmware-cache.js';
import { ImageServer } from '../../firmware/image-server.js';
import { openShadows } from '../../shadows/shadows.js';
import { Outbox } from '../../store/outbox.js';
import { siteMigrations } from '../../store/site-migrations.js';
import { siteStore } from '../../store/site-store.js';
import type { AccessRefusal } from '../../trust/access-log.js';
import { identifyDevice } from '../../trust/identify-device.js';
import { identifyTarget } from '../../trust/identify-target.js';
import { Revocations } from '../../trust/revocations.js';
import { TargetTokens } from '../../trust/target-tokens.js';
import type { Closed } from '../../updates/site-windows.js';
import { Updates } from '../../updates/updates.js';
import {
  campaignBody,
  everythingTrusted,
  firmwareBody,
  HandPlan,
} from '../../updates/updates-fixture.js';
import { openDeviceDoor } from '../local/device-door.js';
import { ddiRefusals, openDdiDoor } from './open-ddi-door.js';

export interface TestDdiOptions {
  readonly clock: StampingClock;
  /** What the firmware cache holds. */
  readonly images: readonly Uint8Array[];
  readonly pollS?: number;
  readonly waitingPollS?: number;
  readonly gatewayToken?: string;
}

export interface DdiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Buffer;
  /** Parsed where there is any. */
  // biome-ignore lint/suspicious/noExplicitAny: what a foreign client would read of it
  readonly json: any;
}

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The document of an image. */
export const imageBody = (
  bytes: Uint8Array,
  { model = 'pump', version, file_name }: { model?: string; version: string; file_name: string },
): FirmwareBody => ({
  ...firmwareBody(version, model),
  ...{ sha256: sha256Of(bytes), size_bytes: bytes.length, file_name },
});

export const openTestDdi = async (
  t: Pick<Test, 'teardown'>,
  { clock, images: held, pollS = 300, waitingPollS = 30, gatewayToken }: TestDdiOptions,
) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-ddi-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const outbox = new Outbox({ store, log });
  const lane = { appended: () => undefined };
  const site = siteStore({ store, outbox, lanes: { audit: lane, state: lane } });
  const devices = await openDevices({ site, clock, log }, { writeAfterMs: 5 });
  const revocations = await Revocations.open({ site, clock, log });
  const lifecycles = new Lifecycles({
    ...{ site, devices, revocations, clock, log },
    inactiveAfterMs: () => 1e12,
  });
  const shadows = await openShadows({ site, clock, log: store.log });
  const source = { address: 'https://127.0.0.1:1', agent: undefined as never };
  const images = join(folder, 'firmware');
  const firmware = new FirmwareCache(
    { source, log, now: clock.now },
    { folder: images, quotaBytes: 1e9 },
  );
  await mkdir(images);
  for (const bytes of held) await writeFile(join(images, sha256Of(bytes)), bytes);
  await firmware.open();
  const plan = new HandPlan();
  let closed: Closed | undefined;
  const updates = new Updates(
    {
      ...{ site, outbox, plan, devices, firmware, clock, log },
      isFenced: () => false,
      publish: async () => undefined,
      verdicts: everythingTrusted,
      windows: { closed: () => closed },
    },
    { passAfterMs: 1 },
  );
  await updates.open();
  outbox.start();
  const fleet = await createTestFleet();
  const server = await fleet.gatewayServer('gw-1');
  const targetTokens = await TargetTokens.open({
    ...{ site, clock, devices },
    requireWritable: () => undefined,
  });
  const identify = identifyDevice({
    root: fleet.root.certificate,
    siteCas: () => [fleet.siteCa.certificate],
    site: fleet.site,
    isRevoked: () => false,
    refusal: lifecycles.refusal,
    clock,
  });
  const refusals: AccessRefusal[] = [];
  const closers: (() => Promise<void> | void)[] = [];
  const imageServer = new ImageServer({ firmware, log });
  const monotonic = (): number => clock.monotonic();
  const door = await openDeviceDoor(
    {
      enrolment: { enrol: () => Promise.reject(new Error('not here')) },
      images: imageServer,
      mayLoad: (...asked) => updates.mayLoad(...asked),
      ...{ log, identify, identifyForRenewal: identify },
      identifyByUrl: () => undefined,
      identifyByToken: identifyTarget({ targetTokens, gatewayToken }),
      tokenRefusal: ddiRefusals(monotonic),
      onRefused: (refusal) => refusals.push(refusal),
      routes: openDdiDoor(
        {
          ...{ updates, devices, shadows, firmware, images: imageServer, lifecycles, log },
          fence: { check: () => undefined },
          onRefused: (refusal) => refusals.push(refusal),
          onClose: (_name, close) => closers.push(close),
          monotonic,
        },
        { pollS, waitingPollS, tenants: ['default'], httpsAddress: () => 'https://127.0.0.1:1' },
      ),
    },
    { host: '127.0.0.1', port: 0, tls: server.tls },
  );
  t.teardown(async () => {
    await door.close();
    for (const close of closers) await close();
    await updates.close();
    await outbox.close();
    await lifecycles.close();
    await devices.close();
    await firmware.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  const ca = fleet.root.certificate.pem;
  const ask = (
    method: string,
    path: string,
    {
      token,
      body,
      headers = {},
      tls = {},
    }: {
      readonly token?: string | undefined;
      readonly body?: object | string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly tls?: { readonly cert?: string; readonly key?: string };
    } = {},
  ): Promise<DdiAnswer> =>
    new Promise((resolve, reject) => {
      const asked = httpsRequest(
        {
          ...{ host: '127.0.0.1', port: door.port, method, path, ca, ...tls },
          servername: 'localhost',
          headers: {
            ...(token !== undefined && { authorization: `TargetToken ${token}` }),
            ...(body !== undefined && { 'content-type': 'application/json' }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () => {
            const bytes = Buffer.concat(chunks);
            const isJson = /json/.test(response.headers['content-type'] ?? '');
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              bytes,
              json: isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined,
            });
          });
        },
      );
      asked.once('error', reject);
      asked.end(typeof body === 'object' ? JSON.stringify(body) : body);
    });

  return {
    ...{ folder, store, clock, devices, shadows, plan, updates, fleet, targetTokens, lifecycles },
    ...{ refusals, ask, ca },
    port: door.port,
    closeWindow: (why: Closed | undefined) => {
      closed = why;
    },
    /** A token of a device that is enrolled by it. */
    tokenFor: async (device: string, model = 'pump'): Promise<string> =>
      (await targetTokens.make({ device, model, actor: 'site:anna' })).token,
    statusOf: async (device: string, campaign = 'c'): Promise<string | undefined> =>
      (await updates.executionOf(device, campaign))?.execution.status,
    /** Starts campaigns, each for one image. */
    start: async (
      campaigns: Readonly<Record<string, Partial<CampaignBody>>>,
      firmwares: readonly FirmwareBody[],
    ): Promise<void> => {
      plan.set(
        Object.fromEntries(Object.entries(campaigns).map(([id, body]) => [id, campaignBody(body)])),
        firmwares,
      );
      await updates.settled();
    },
  };
};
