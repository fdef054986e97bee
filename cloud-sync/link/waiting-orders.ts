/**
 * Orders before they have a number. They may still be merged, and be given another place: commands go first, after what was made before
 * them for the same device.
 */
import { orderBodies } from '@holdfast/protos/link/orders';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { Kysely, Selectable } from 'kysely';
import * as v from 'valibot';
import type { Schema } from '../store/schema.js';
import { mergeOrders } from './merge-orders.js';
import type { NewOrder } from './orders.js';

export type WaitingOrder = Selectable<Schema['waiting_orders']>;

/** Appends an order, or merges it into one of the same shadow that waits. Returns whether it took the position. */
export const addWaiting = async (
  db: Kysely<Schema>,
  site: string,
  order: NewOrder,
  { position, now }: { readonly position: number; readonly now: number },
): Promise<boolean> => {
  const device = order.kind === 'resupplied' ? noDevice : order.body.device;
  const earlier = order.kind === 'shadow' ? await lastOfShadow(db, site, order.body) : undefined;
  if (order.kind === 'shadow' && earlier !== undefined) {
    const merged = mergeOrders(v.parse(orderBodies.shadow, JSON.parse(earlier.body)), order.body);
    if (merged !== undefined) {
      await db
        .updateTable('waiting_orders')
        .set({ body: canonicalJson(merged) })
        .where('site_id', '=', site)
        .where('position', '=', earlier.position)
        .execute();
      return false;
    }
  }
  await db
    .insertInto('waiting_orders')
    .values({
      ...{ site_id: site, position, kind: order.kind, device_id: device },
      shadow: order.kind === 'shadow' ? order.body.shadow : noShadow,
      ...{ body: canonicalJson(order.body), created_at: now },
    })
    .execute();
  return true;
};

/** The last order of a shadow, unless a command of its device came after it: that one is to find what was made before it, and no more. */
const lastOfShadow = async (
  db: Kysely<Schema>,
  site: string,
  { device, shadow }: { readonly device: string; readonly shadow: string },
): Promise<WaitingOrder | undefined> => {
  const ofDevice = db
    .selectFrom('waiting_orders')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .orderBy('position', 'desc')
    .limit(1);
  const last = await ofDevice.where('shadow', '=', shadow).executeTakeFirst();
  if (last === undefined) return undefined;
  const command = await ofDevice
    .where('shadow', '=', noShadow)
    .where('position', '>', last.position)
    .executeTakeFirst();
  return command === undefined ? last : undefined;
};

/** A command's. */
const noShadow = '';
/** Of an order about the site as a whole. */
const noDevice = '';

/** Those that go next: commands with what was made before them for their devices, then the others in order. */
export const nextWaiting = async (
  db: Kysely<Schema>,
  site: string,
  most: number,
): Promise<WaitingOrder[]> => {
  const chosen = new Map<number, WaitingOrder>();
  const choose = (rows: readonly WaitingOrder[]): void => {
    for (const row of rows) if (chosen.size < most) chosen.set(row.position, row);
  };
  const all = db.selectFrom('waiting_orders').selectAll().where('site_id', '=', site);
  const commands = await all
    .where('kind', '=', 'command')
    .orderBy('position')
    .limit(most)
    .execute();
  for (const { device_id, position } of commands) {
    if (chosen.has(position)) continue;
    if (chosen.size >= most) break;
    const ofDevice = await all.where('device_id', '=', device_id).execute();
    choose(
      ofDevice.filter((row) => row.position <= position).sort((a, b) => a.position - b.position),
    );
  }
  if (chosen.size < most) choose(await all.orderBy('position').limit(most).execute());
  return [...chosen.values()];
};

export const removeWaiting = async (
  db: Kysely<Schema>,
  site: string,
  orders: readonly WaitingOrder[],
): Promise<void> => {
  await db
    .deleteFrom('waiting_orders')
    .where('site_id', '=', site)
    .where(
      'position',
      'in',
      orders.map(({ position }) => position),
    )
    .execute();
};

export const isWaiting = async (db: Kysely<Schema>, site: string): Promise<boolean> => {
  const row = await db
    .selectFrom('waiting_orders')
    .select('position')
    .where('site_id', '=', site)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
};
