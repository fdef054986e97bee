/** Telemetry out of the journal: each point once, each drop accounted for. */
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { EffectRegistry } from './effect-registry.js';

type Point = EntryBody<'telemetry', 'point'>;

export const registerTelemetryEffects = (effects: EffectRegistry): void => {
  effects.register('telemetry', 'point', async ({ tx, site }, entries) => {
    const first = (await lastPosition(tx, site)) + 1;
    const rows = entries.map(({ body }, index) => ({
      site_id: site,
      device_id: body.device,
      position: first + index,
      point_key: pointKey(body),
      series: body.series,
      ts: body.ts,
      value: canonicalJson(body.value),
      boot: body.boot ?? null,
      seq: body.seq ?? null,
      stamp_boot: body.stamp?.boot ?? null,
      stamp_mono: body.stamp?.mono ?? null,
    }));
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      await tx.db
        .insertInto('telemetry')
        .values(rows.slice(at, at + rowsAtOnce))
        .onConflict((c) => c.columns(['site_id', 'device_id', 'point_key']).doNothing())
        .execute();
    }
    await tx.db
      .insertInto('telemetry_positions')
      .values({ site_id: site, last_position: first + rows.length - 1 })
      .onConflict((c) =>
        c.column('site_id').doUpdateSet({ last_position: first + rows.length - 1 }),
      )
      .execute();
    return undefined;
  });

  effects.register('telemetry', 'dropped', async ({ tx, site, log }, entries) => {
    for (const { at, body } of entries) {
      await tx.db
        .insertInto('telemetry_dropped')
        .values({
          site_id: site,
          log,
          from_seq: body.from,
          to_seq: body.to,
          points: body.points,
          reason: body.reason,
          at,
        })
        .onConflict((c) => c.columns(['site_id', 'log', 'to_seq']).doNothing())
        .execute();
    }
    return undefined;
  });
};

/**
 * A point counts once by (device, boot, seq) where the device sends them, else by (device, series, ts), or by its stamp in place of a
 * time. The numbers first: neither they nor a colon can be mistaken for a part of what follows.
 */
export const pointKey = ({ boot, seq, series, ts, stamp }: Point): string => {
  if (boot !== undefined && seq !== undefined) return `n${seq}:${boot}`;
  if (stamp === undefined) return `t${ts}:${series}`;
  return `s${stamp.mono}:${stamp.boot.length}:${stamp.boot}:${series}`;
};

/** Eleven columns a row, and SQLite takes 32,766 parameters; more rows at once gain nothing. */
const rowsAtOnce = 500;

const lastPosition = async ({ db }: WriteTransaction, site: string): Promise<number> => {
  const row = await db
    .selectFrom('telemetry_positions')
    .select('last_position')
    .where('site_id', '=', site)
    .executeTakeFirst();
  return row?.last_position ?? 0;
};
