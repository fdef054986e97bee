/** The methods about manufacturers; each change asks for the plans of the sites that it concerns. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { EnrollmentService, Manufacturer } from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { Certificate } from '@holdfast/provisioning/pki/certificate';
import { parseName, requireId } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { checkEtag } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine } from '../store/sql-engine.js';
import {
  affectedSites,
  manufacturerMessage,
  requireManufacturer,
  requireTerms,
} from './manufacturer-records.js';

export interface ManufacturerMethodsDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  readonly root: Certificate;
  readonly now: () => number;
}

type ManufacturerMethods = Pick<
  Handlers<typeof EnrollmentService>,
  | 'createManufacturer'
  | 'deleteManufacturer'
  | 'getManufacturer'
  | 'listManufacturers'
  | 'updateManufacturer'
>;

const scope = 'manufacturers';

export const manufacturerMethods = ({
  engine,
  plans,
  root,
  now,
}: ManufacturerMethodsDependencies): ManufacturerMethods => {
  const { read } = engine;
  const get = async (id: string) => manufacturerMessage(await requireManufacturer(read, id));
  return {
    createManufacturer: async ({ manufacturerId, manufacturer }) => {
      const id = requireId(manufacturerId, 'manufacturer_id');
      await engine.write(async (tx) => {
        const terms = await requireTerms(tx.db, requireMessage(manufacturer), {
          root,
          now: now(),
        });
        const result = await tx.db
          .insertInto('manufacturers')
          .values({ ...terms, manufacturer_id: id, created_at: now(), version: 1 })
          .onConflict((c) => c.column('manufacturer_id').doNothing())
          .executeTakeFirst();
        if (result.numInsertedOrUpdatedRows !== 1n) {
          throw new HoldfastError('RESOURCE_EXISTS', `There is a manufacturer ${id} already`);
        }
        await plans.request(tx, await affectedSites(tx.db, [terms]));
      });
      return get(id);
    },

    getManufacturer: ({ name }) => get(idOf(name)),

    listManufacturers: async (request) => {
      const page = readPage(request, scope, ['']);
      let query = read.selectFrom('manufacturers').selectAll();
      if (page.after !== undefined) query = query.where('manufacturer_id', '>', page.after[0]);
      const rows = await query
        .orderBy('manufacturer_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ manufacturer_id }) => [manufacturer_id]);
      return {
        manufacturers: cut.rows.map(manufacturerMessage),
        nextPageToken: cut.nextPageToken,
      };
    },

    updateManufacturer: async ({ manufacturer, updateMask }) => {
      const changed = requireMessage(manufacturer);
      const id = idOf(changed.name);
      await engine.write(async (tx) => {
        const row = await requireManufacturer(tx.db, id);
        checkEtag(changed.etag, row.version, `The manufacturer ${id}`);
        const merged = merge(manufacturerMessage(row), changed, updateMask);
        const terms = await requireTerms(tx.db, merged, { root, now: now() });
        await tx.db
          .updateTable('manufacturers')
          .set({ ...terms, version: row.version + 1 })
          .where('manufacturer_id', '=', id)
          .execute();
        await plans.request(tx, await affectedSites(tx.db, [row, terms]));
      });
      return get(id);
    },

    deleteManufacturer: async ({ name, etag }) => {
      const id = idOf(name);
      await engine.write(async (tx) => {
        const row = await requireManufacturer(tx.db, id);
        checkEtag(etag, row.version, `The manufacturer ${id}`);
        await tx.db.deleteFrom('manufacturers').where('manufacturer_id', '=', id).execute();
        await plans.request(tx, await affectedSites(tx.db, [row]));
      });
      return {};
    },
  };
};

const settable: Readonly<Record<string, keyof Manufacturer>> = {
  certificates_pem: 'certificatesPem',
  id_prefix: 'idPrefix',
  models: 'models',
  sites: 'sites',
};

const merge = (
  before: Manufacturer,
  changed: Manufacturer,
  mask: readonly string[] | undefined,
): Manufacturer => {
  const paths =
    mask === undefined || mask.length === 0 || mask.includes('*') ? Object.keys(settable) : mask;
  const fields = paths.map((path) => {
    const field = settable[path];
    if (field !== undefined) return [field, changed[field]] as const;
    throw new HoldfastError(
      'REQUEST_INVALID',
      `update_mask may name ${Object.keys(settable).join(', ')}, not ${path}`,
    );
  });
  return { ...before, ...Object.fromEntries(fields) };
};

const idOf = (name: string): string => parseName(name, 'manufacturers/{manufacturer}')[0] ?? '';

const requireMessage = (manufacturer: Manufacturer | undefined): Manufacturer => {
  if (manufacturer !== undefined) return manufacturer;
  throw new HoldfastError('REQUEST_INVALID', 'manufacturer is missing');
};
