/** What the journal says of enrolments: taken into the registry, and confirmed or revoked. */
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { recordRevocation } from '../certificates/revocations.js';
import { recordCertificate } from '../devices/device-certificates.js';
import { setLabels } from '../devices/device-labels.js';
import { ensureDevice } from '../devices/device-records.js';
import type { EffectContext, EffectRegistry, EntryProblem } from '../effects/effect-registry.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { type EnrolledBody, problemOfEnrolment, readFacts } from './countersign.js';

export interface EnrolmentEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly plans: PlanPublisher;
  readonly log: { warn(data: object, message: string): void };
}

export const registerEnrolmentEffects = (deps: EnrolmentEffectsDependencies): void => {
  deps.effects.register('audit', 'device_enrolled', async (context, entries) => {
    const problems: EntryProblem[] = [];
    let hasNewPlan = false;
    for (const { seq, at, body } of entries) {
      if (isDeviceId(body.device)) {
        hasNewPlan = (await takeEnrolment(deps, context, at, body)) || hasNewPlan;
      } else problems.push({ seq, problem: 'body: no device id' });
    }
    if (hasNewPlan) await deps.plans.request(context.tx, [context.site]);
    return problems;
  });
};

/** Whether the plan has to change: it names the codes that are open, and what is revoked. */
const takeEnrolment = async (
  { log }: EnrolmentEffectsDependencies,
  { tx, site, now }: EffectContext,
  at: number,
  body: EnrolledBody,
): Promise<boolean> => {
  const { device, certificate_serial: serial } = body;
  const facts = await readFacts(tx.db, site, body);
  const problem = problemOfEnrolment(body, facts);
  const { claim } = facts;
  await ensureDevice(tx, site, device);
  await tx.db
    .updateTable('devices')
    .set({
      model: body.model,
      serial_no: body.serial_no || (claim?.serial_no ?? ''),
      door: body.door,
      certificate_serial: serial,
      enrolled_at: at,
      manufacturer_id: body.manufacturer ?? null,
      confirmed_at: problem === undefined ? now : null,
      enrolment_problem: problem ?? null,
    })
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .execute();
  const hasLabels =
    claim !== undefined &&
    claim.labels !== '{}' &&
    (await setLabels(tx, { site, device }, claim.labels));
  if (serial !== null && body.issuer_key_id !== undefined) {
    await recordCertificate(tx, {
      ...{ site, device, serial, issuedAt: at },
      issuerKeyId: body.issuer_key_id,
      expiresAt: body.expires_at ?? null,
    });
  }
  if (problem !== undefined) {
    tx.afterCommit(() => log.warn({ site, device, problem }, 'an enrolment does not stand'));
    if (serial !== null && body.issuer_key_id !== undefined) {
      await recordRevocation(tx, {
        site,
        device,
        serial,
        issuerKeyId: body.issuer_key_id,
        expiresAt: body.expires_at ?? null,
        reason: 'privilege_withdrawn',
        actor: 'cloud:enrolment',
        at: now,
      });
    }
  }
  if (claim === undefined || claim.used_at !== null) return problem !== undefined || hasLabels;
  await tx.db
    .updateTable('claim_codes')
    .set({ used_at: now, used_by: device })
    .where('hash', '=', claim.hash)
    .execute();
  return true;
};
