/** What the journal says of the lives and the certificates of devices. */
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import type { Signals } from '../bus/signals.js';
import { releaseDevice } from '../campaigns/campaign-departures.js';
import { proposeRevocations } from '../certificates/revocation-proposals.js';
import { recordRevocation } from '../certificates/revocations.js';
import { recordCertificate } from '../devices/device-certificates.js';
import { forgetLife, isOfForgotten, takeLifecycle } from '../devices/device-lives.js';
import { deleteDevice, ensureDevice } from '../devices/device-records.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { EffectRegistry, EntryProblem } from './effect-registry.js';

export interface LifeEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly plans: PlanPublisher;
  readonly signals: Signals;
}

export const registerLifeEffects = ({ effects, plans, signals }: LifeEffectsDependencies): void => {
  effects.register('audit', 'certificate_issued', async ({ tx, site, now }, entries) => {
    let isTold = false;
    for (const { at, body } of entries) {
      await recordCertificate(tx, {
        ...{ site, device: body.device, issuedAt: at },
        issuerKeyId: body.issuer_key_id,
        serial: body.serial,
        expiresAt: body.expires_at,
      });
      isTold = (await revokeWith(tx, site, body, now)) || isTold;
    }
    if (isTold) await plans.request(tx, [site]);
    return undefined;
  });

  effects.register('audit', 'certificate_revoked', async ({ tx, site, isFenced, now }, entries) => {
    if (isFenced) {
      const said = entries.map(({ body }) => body);
      await proposeRevocations(tx, site, said, now);
      return undefined;
    }
    let isTold = false;
    for (const { body } of entries) {
      const isNew = await recordRevocation(tx, {
        site,
        device: body.device,
        issuerKeyId: body.issuer_key_id,
        serial: body.serial,
        reason: body.reason,
        actor: body.actor,
        at: body.revoked_at,
        expiresAt: body.expires_at,
      });
      isTold ||= isNew && body.reason !== 'superseded';
    }
    // The site knows them: they stand in its plan for the gateway after this one. Those that renewal brings come along with the next.
    if (isTold) await plans.request(tx, [site]);
    return undefined;
  });

  effects.register('audit', 'device_lifecycle', async ({ tx, site, isFenced }, entries) => {
    const problems: EntryProblem[] = [];
    let hasNewPlan = false;
    for (const { seq, at, body } of entries) {
      if (!isDeviceId(body.device)) problems.push({ seq, problem: 'body: no device id' });
      // What a gateway decided that owns the site no more is history.
      else if (!isFenced && !(await isOfForgotten(tx.db, { site, device: body.device }, at))) {
        await ensureDevice(tx, site, body.device);
        hasNewPlan = (await takeLifecycle(tx, site, at, body)) || hasNewPlan;
      }
    }
    if (hasNewPlan) await plans.request(tx, [site]);
    return problems;
  });

  effects.register('state', 'device_removed', async ({ tx, site, isFenced, now }, entries) => {
    if (isFenced) return undefined;
    for (const { at, body } of entries) {
      const key = { site, device: body.device };
      const row = await tx.db
        .selectFrom('devices')
        .select('enrolled_at')
        .where('site_id', '=', site)
        .where('device_id', '=', body.device)
        .executeTakeFirst();
      // The lanes are not ordered among each other: it may have been enrolled anew since, and that be known already.
      if ((row?.enrolled_at ?? 0) > at) continue;
      await deleteDevice(tx, key);
      await releaseDevice({ plans, signals, now: () => now }, tx, key);
      await forgetLife(tx, key, at);
    }
    await plans.request(tx, [site]);
    return undefined;
  });
};

/**
 * A site that was cut off renewed a certificate that had been revoked here: whoever holds that one's key has the new one, so it goes the same
 * way. Whether it is new that it does.
 */
const revokeWith = async (
  tx: WriteTransaction,
  site: string,
  body: EntryBody<'audit', 'certificate_issued'>,
  now: number,
): Promise<boolean> => {
  const revoked = await tx.db
    .selectFrom('revocations')
    .select(['reason', 'actor'])
    .where('serial', '=', body.replaces)
    .where('device_id', '=', body.device)
    .where((eb) => eb.or([eb('site_id', '=', site), eb('site_id', 'is', null)]))
    .where('reason', '!=', 'superseded')
    .executeTakeFirst();
  if (revoked === undefined) return false;
  return recordRevocation(tx, {
    ...{ site, device: body.device, at: now, actor: revoked.actor },
    issuerKeyId: body.issuer_key_id,
    serial: body.serial,
    // Only `recordRevocation` writes it.
    reason: revoked.reason as RevocationReason,
    expiresAt: body.expires_at,
  });
};
