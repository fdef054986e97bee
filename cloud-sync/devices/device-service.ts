/** The service Devices: the registry as the journal fills it, codes for new devices, and their telemetry. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Device, DevicesService } from '@holdfast/protos/gen/holdfast/v1/devices';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import type { Kysely, Selectable } from 'kysely';
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
import { deleteDevice, parseLabels, requireDevice, requireLabels } from './device-records.js';

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
  return apiService(DevicesService, {
    getDevice: async ({ name }) => deviceMessage(await requireDevice(read, parseDeviceName(name))),

    listDevices: async (request) => {
      const [site = ''] = parseName(request.parent, 'sites/{site}', { wildcard: true });
      const scope = `devices of ${site}`;
      const page = readPage(request, scope, ['', '']);
      let query = read.selectFrom('devices').selectAll();
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
      return { devices: cut.rows.map(deviceMessage), nextPageToken: cut.nextPageToken };
    },

    updateDevice: async ({ device, updateMask }) => {
      if (device === undefined) throw new HoldfastError('REQUEST_INVALID', 'device is missing');
      const id = parseDeviceName(device.name);
      requireMask(updateMask, 'labels');
      const labels = requireLabels(device.labels);
      await engine.write(async ({ db }) => {
        const row = await requireDevice(db, id);
        checkEtag(device.etag, row.version, `The device ${id.device}`);
        await db
          .updateTable('devices')
          .set({ labels, version: row.version + 1 })
          .where('site_id', '=', id.site)
          .where('device_id', '=', id.device)
          .execute();
      });
      return deviceMessage(await requireDevice(read, id));
    },

    deleteDevice: async ({ name, etag }) => {
      const id = parseDeviceName(name);
      await engine.write(async (tx) => {
        const row = await requireDevice(tx.db, id);
        checkEtag(etag, row.version, `The device ${id.device}`);
        await deleteDevice(tx, id);
      });
      return {};
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
      const scope = `telemetry of ${request.parent}`;
      const page = readPage(request, scope, [0]);
      await requireDevice(read, id);
      const rows = await readTelemetry(read, id, page.after?.[0] ?? 0, page.limit + 1);
      const cut = cutPage(rows, page, scope, ({ position }) => [position]);
      return {
        points: cut.rows.map(({ series, ts, value, boot, seq }) => ({
          series,
          time: new Date(ts),
          valueJson: value,
          boot: boot ?? '',
          ...(seq === null ? {} : { seq: BigInt(seq) }),
        })),
        nextPageToken: cut.nextPageToken,
      };
    },
  });
};

const readTelemetry = (
  db: Kysely<Schema>,
  { site, device }: { readonly site: string; readonly device: string },
  after: number,
  limit: number,
) =>
  db
    .selectFrom('telemetry')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('position', '>', after)
    .orderBy('position')
    .limit(limit)
    .execute();

const deviceMessage = (row: Selectable<Schema['devices']>): Device => ({
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
