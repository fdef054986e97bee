/** The service Devices: the registry as the journal fills it, codes for new devices, and their telemetry. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type Device,
  DevicesService,
  LifecycleAction,
  LifecycleState,
} from '@holdfast/protos/gen/holdfast/v1/devices';
import type { LifecycleDecision } from '@holdfast/protos/semantics/lifecycle';
import { revocationReasons } from '@holdfast/protos/semantics/revocation-reason';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { Kysely, Selectable } from 'kysely';
import type { Caller } from '../api/caller.js';
import { deviceName, parseDeviceName, parseName, parseSiteName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { makeClaims, requireClaim } from '../enrolment/claim-codes.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { optionalDate } from '../sites/site-messages.js';
import { checkEtag, requireSite } from '../sites/site-records.js';
import { requireMask } from '../sites/site-service.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { certificatesOf, revokeCertificates } from './device-certificates.js';
import { setLabels } from './device-labels.js';
import { type DeviceLife, decideLife, readLife } from './device-lives.js';
import {
  type DeviceKey,
  isRemoved,
  parseLabels,
  requireDevice,
  requireLabels,
} from './device-records.js';

export interface DeviceServiceDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  /** The fleet's root, which codes name. */
  readonly root: Certificate;
  readonly now: () => number;
}

export const deviceService = ({
  engine,
  plans,
  root,
  now,
}: DeviceServiceDependencies): ApiService => {
  const { read } = engine;
  const getDevice = async (key: DeviceKey): Promise<Device> =>
    deviceMessage(await requireDevice(read, key), await readLife(read, key));
  return apiService(DevicesService, {
    getDevice: async ({ name }) => getDevice(parseDeviceName(name)),

    listDevices: async (request) => {
      const [site = ''] = parseName(request.parent, 'sites/{site}', { wildcard: true });
      const scope = `devices of ${site}`;
      const page = readPage(request, scope, ['', '']);
      let query = read
        .selectFrom('devices')
        .selectAll()
        .where((eb) => eb.not(isRemoved(eb)));
      if (site !== '-') {
        await requireSite(read, site);
        query = query.where('site_id', '=', site);
      }
      if (page.after !== undefined) {
        const [afterSite, afterDevice] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('site_id', '>', afterSite),
            eb.and([eb('site_id', '=', afterSite), eb('device_id', '>', afterDevice)]),
          ]),
        );
      }
      const rows = await query
        .orderBy('site_id')
        .orderBy('device_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [row.site_id, row.device_id]);
      const lives = await readLives(read, cut.rows);
      const devices = cut.rows.map((row) => deviceMessage(row, lives.get(nameOf(row))));
      return { devices, nextPageToken: cut.nextPageToken };
    },

    updateDevice: async ({ device, updateMask }) => {
      if (device === undefined) throw new HoldfastError('REQUEST_INVALID', 'device is missing');
      const id = parseDeviceName(device.name);
      requireMask(updateMask, 'labels');
      const labels = requireLabels(device.labels);
      await engine.write(async (tx) => {
        const row = await requireDevice(tx.db, id);
        checkEtag(device.etag, row.version, `The device ${id.device}`);
        if (await setLabels(tx, id, labels)) await plans.request(tx, [id.site]);
      });
      return getDevice(id);
    },

    deleteDevice: async ({ name, etag }, { caller }) => {
      const id = parseDeviceName(name);
      const actor = actorOf(caller);
      await engine.write(async (tx) => {
        const row = await requireDevice(tx.db, id);
        checkEtag(etag, row.version, `The device ${id.device}`);
        const reason = 'deleted';
        const order = { reason: 'cessation_of_operation', actor, now: now() } as const;
        await revokeCertificates(tx, id, order);
        await decideLife(tx, id, { action: 'retire', reason, actor, isRemoved: true }, now());
        await plans.request(tx, [id.site]);
      });
      return {};
    },

    changeDeviceLifecycle: async ({ name, action, reason }, { caller }) => {
      const id = parseDeviceName(name);
      const decision = { action: requireAction(action), reason: requireReason(reason) };
      await engine.write(async (tx) => {
        await requireDevice(tx.db, id);
        await decideLife(tx, id, { ...decision, actor: actorOf(caller) }, now());
        await plans.request(tx, [id.site]);
      });
      return getDevice(id);
    },

    listDeviceCertificates: async (request) => {
      const id = parseDeviceName(request.parent);
      await requireDevice(read, id);
      const scope = `certificates of ${request.parent}`;
      const page = readPage(request, scope, [0, '']);
      let query = certificatesOf(read, id);
      if (page.after !== undefined) {
        const [at, serial] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('c.issued_at', '<', at),
            eb.and([eb('c.issued_at', '=', at), eb('c.serial', '>', serial)]),
          ]),
        );
      }
      const rows = await query
        .orderBy('c.issued_at', 'desc')
        .orderBy('c.serial')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [row.issued_at, row.serial]);
      return {
        certificates: cut.rows.map((row) => ({
          serial: row.serial,
          issuerKeyId: row.issuer_key_id,
          issueTime: new Date(row.issued_at),
          expireTime: optionalDate(row.expires_at),
          revokeTime: optionalDate(row.revoked_at),
          revocationReason: row.reason ?? '',
          revokedBy: row.actor ?? '',
        })),
        nextPageToken: cut.nextPageToken,
      };
    },

    revokeDeviceCertificates: async ({ name, serial, reason }, { caller }) => {
      const id = parseDeviceName(name);
      const order = {
        ...(serial === '' ? {} : { serial }),
        reason: requireRevocationReason(reason),
        actor: actorOf(caller),
        now: now(),
      };
      const serials = await engine.write(async (tx) => {
        await requireDevice(tx.db, id);
        const revoked = await revokeCertificates(tx, id, order);
        if (revoked.length > 0) await plans.request(tx, [id.site]);
        return revoked;
      });
      return { serials };
    },

    createClaimCode: async ({ parent, ...request }) => {
      const site = parseSiteName(parent);
      const claim = requireClaim(request, now());
      return engine.write(async (tx) => {
        await requireSite(tx.db, site);
        const making = { site, rootSha256: root.sha256, now: now() };
        const [made] = await makeClaims(tx, making, [claim]);
        if (made === undefined) throw new HoldfastError('INTERNAL', 'no code was made');
        await plans.request(tx, [site]);
        return made;
      });
    },

    listTelemetry: async (request) => {
      const id = parseDeviceName(request.parent);
      const order = readOrder(request.orderBy);
      const scope = `telemetry of ${request.parent} ${order}`;
      const page = readPage(request, scope, [0]);
      await requireDevice(read, id);
      const rows = await readTelemetry(read, id, { ...page, order });
      const cut = cutPage(rows, page, scope, ({ position }) => [position]);
      return {
        points: cut.rows.map(pointMessage),
        nextPageToken: cut.nextPageToken,
      };
    },
  });
};

type Order = 'asc' | 'desc';

/** AIP-132; points have one order. */
const readOrder = (orderBy: string): Order => {
  const words = orderBy.trim().split(/\s+/).join(' ');
  if (words === '' || words === 'arrival') return 'asc';
  if (words === 'arrival desc') return 'desc';
  throw new HoldfastError('REQUEST_INVALID', 'order_by is `arrival` or `arrival desc`');
};

const readTelemetry = (
  db: Kysely<Schema>,
  { site, device }: { readonly site: string; readonly device: string },
  { after, limit, order }: { after: readonly [number] | undefined; limit: number; order: Order },
) => {
  let query = db
    .selectFrom('telemetry')
    .leftJoin('site_clocks', (join) =>
      join
        .onRef('site_clocks.site_id', '=', 'telemetry.site_id')
        .onRef('site_clocks.boot', '=', 'telemetry.stamp_boot'),
    )
    .selectAll('telemetry')
    .select('site_clocks.clock_offset')
    .where('telemetry.site_id', '=', site)
    .where('device_id', '=', device);
  if (after !== undefined) query = query.where('position', order === 'asc' ? '>' : '<', after[0]);
  return query
    .orderBy('position', order)
    .limit(limit + 1)
    .execute();
};

type PointRow = Awaited<ReturnType<typeof readTelemetry>>[number];

/** Where the site had no time, the stamp and what the site said of it since make one; until then its guess is shown as such. */
const pointMessage = ({ series, ts, value, boot, seq, stamp_mono, clock_offset }: PointRow) => ({
  series,
  time: new Date(
    stamp_mono === null || clock_offset === null ? ts : Math.round(clock_offset + stamp_mono),
  ),
  timeIsGuess: stamp_mono !== null && clock_offset === null,
  valueJson: value,
  boot: boot ?? '',
  ...(seq === null ? {} : { seq: BigInt(seq) }),
});

/** As plan and journal name who decided. */
const actorOf = (caller: Caller | undefined): string => `cloud:${caller?.name ?? 'unknown'}`;

const requireRevocationReason = (reason: string) => {
  const known = revocationReasons.find((one) => one === (reason || 'unspecified'));
  if (known !== undefined) return known;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `the reason is one of ${revocationReasons.join(', ')}`,
  );
};

const requireReason = (reason: string): string => {
  if (reason.length <= 500) return reason;
  throw new HoldfastError('REQUEST_INVALID', 'a reason has at most 500 characters');
};

const requireAction = (action: LifecycleAction) => {
  const known = actions.get(action);
  if (known !== undefined) return known;
  throw new HoldfastError('REQUEST_INVALID', 'the action is to enable, disable or retire');
};

const actions = new Map<LifecycleAction, LifecycleDecision['action']>([
  [LifecycleAction.LIFECYCLE_ACTION_ENABLE, 'enable'],
  [LifecycleAction.LIFECYCLE_ACTION_DISABLE, 'disable'],
  [LifecycleAction.LIFECYCLE_ACTION_RETIRE, 'retire'],
]);

const states = new Map<string, LifecycleState>([
  ['provisioning', LifecycleState.LIFECYCLE_STATE_PROVISIONING],
  ['active', LifecycleState.LIFECYCLE_STATE_ACTIVE],
  ['inactive', LifecycleState.LIFECYCLE_STATE_INACTIVE],
  ['disabled', LifecycleState.LIFECYCLE_STATE_DISABLED],
  ['retired', LifecycleState.LIFECYCLE_STATE_RETIRED],
]);

const nameOf = (row: { readonly site_id: string; readonly device_id: string }): string =>
  deviceName(row.site_id, row.device_id);

/** By the names of the devices; of one page. */
const readLives = async (
  db: Kysely<Schema>,
  rows: readonly { readonly site_id: string; readonly device_id: string }[],
): Promise<ReadonlyMap<string, DeviceLife>> => {
  if (rows.length === 0) return new Map();
  const lives = await db
    .selectFrom('device_lives')
    .selectAll()
    .where('site_id', 'in', [...new Set(rows.map(({ site_id }) => site_id))])
    .where(
      'device_id',
      'in',
      rows.map(({ device_id }) => device_id),
    )
    .execute();
  return new Map(lives.map((life) => [nameOf(life), life]));
};

const pendingOf = (life: DeviceLife | undefined): LifecycleAction => {
  const [pending] = [...actions].find(([, name]) => name === life?.action) ?? [];
  return life?.is_pending === 1 && pending !== undefined
    ? pending
    : LifecycleAction.LIFECYCLE_ACTION_UNSPECIFIED;
};

const deviceMessage = (
  row: Selectable<Schema['devices']>,
  life: DeviceLife | undefined,
): Device => ({
  lifecycleState: states.get(life?.state ?? '') ?? LifecycleState.LIFECYCLE_STATE_UNSPECIFIED,
  lifecycleTime: optionalDate(life?.since ?? null),
  lifecycleReason: life?.reason ?? '',
  lifecycleActor: life?.actor ?? '',
  pendingAction: pendingOf(life),
  name: deviceName(row.site_id, row.device_id),
  model: row.model,
  serialNo: row.serial_no,
  firmwareVersion: row.firmware_version ?? '',
  online: row.online === 1,
  lastSeenTime: optionalDate(row.last_seen_at),
  enrollTime: optionalDate(row.enrolled_at),
  door: row.door,
  labels: parseLabels(row.labels),
  etag: String(row.version),
  confirmTime: optionalDate(row.confirmed_at),
  enrollmentProblem: row.enrolment_problem ?? '',
});
