/** Opens whom the site trusts and how it shows itself: revocations, its server certificate, who devices are, enrolment. */
import { type SitePolicy, type StaleStop, sitePolicy } from '@holdfast/protos/link/site-policy';
import type { EnrolmentAnswer } from '@holdfast/protos/local/enrolment';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import type { GatewayConfiguration } from '../configuration.js';
import type { Device } from '../devices/device.js';
import type { Devices } from '../devices/devices.js';
import { Lifecycles } from '../devices/lifecycles.js';
import type { Fence } from '../link/fence.js';
import type { Plan } from '../link/plan.js';
import type { SiteStore } from '../store/site-store.js';
import { nameIssuer } from './certificate-register.js';
import type { KnownDevice } from './decide-enrolment.js';
import { DeviceEnrolment } from './device-enrolment.js';
import type { GatewayIdentity } from './gateway-identity.js';
import { Manufacturers } from './manufacturers.js';
import { type OpenedRenewal, openRenewal } from './open-renewal.js';
import type { PairingWindow } from './pairing-window.js';
import { RevocationAge } from './revocation-age.js';
import { Revocations } from './revocations.js';
import { machineHosts, ServerCertificate } from './server-certificate.js';
import { SiteClaims } from './site-claims.js';
import { SiteCrl } from './site-crl.js';
import { TargetTokens } from './target-tokens.js';

export interface TrustDependencies {
  readonly identity: GatewayIdentity;
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly plan: Plan;
  readonly fence: Fence;
  readonly devices: Devices;
  readonly schedule: Schedule;
  readonly pairing: PairingWindow;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface TrustOptions {
  readonly dataDir: string;
  /** Names and addresses of the gateway that it cannot see by itself. */
  readonly hosts: readonly string[];
  /** Where devices find it; asked when one enrols. */
  readonly ports: () => EnrolmentAnswer['ports'];
  /** Of device certificates, where the plan says nothing; seconds. */
  readonly certificates: GatewayConfiguration['certificates'];
}

export interface Trust extends OpenedRenewal {
  readonly revocations: Revocations;
  readonly lifecycles: Lifecycles;
  readonly crl: SiteCrl;
  readonly revocationAge: RevocationAge;
  /** The root's list in PEM, as the plan has it; null before. */
  readonly rootCrl: () => string | null;
  /** What the plan says is allowed, and what holds where it says nothing. */
  readonly policy: () => SitePolicy;
  readonly certificate: ServerCertificate;
  readonly claims: SiteClaims;
  readonly enrolment: DeviceEnrolment;
  readonly targetTokens: TargetTokens;
}

const everyMinute = '* * * * *';
const hourly = '17 * * * *';
const daily = '23 3 * * *';

/** To be called before the doors are opened. */
export const openTrust = async (
  deps: TrustDependencies,
  { dataDir, hosts, ports, certificates }: TrustOptions,
): Promise<Trust> => {
  const { identity, site, clock, schedule, log, plan, fence, devices, pairing, onClose } = deps;
  const { record, root, siteCa } = identity;

  const { renewingS, otherS, supersededAfterS } = certificates;
  const lifetimes = { renewing_ms: renewingS * 1_000, other_ms: otherS * 1_000 };
  const policy = () =>
    sitePolicy({
      device_certificates: lifetimes,
      ...plan.current()?.documents.policy.get('policy')?.body,
    });
  await nameIssuer(site, siteCa.certificate.extensions.subjectKeyId ?? '');
  const revocations = await Revocations.open({ site, clock, log });
  const lifecycles = new Lifecycles({
    ...{ site, devices, revocations, clock, log },
    inactiveAfterMs: () => policy().inactiveAfterMs,
  });
  onClose('lifecycles', () => lifecycles.close());
  const revocationAge = await RevocationAge.open({ site, plan, policy, clock });
  const catchUp = await followPlan({ plan, revocations, lifecycles, log });
  const catchingUp = schedule(everyMinute, () =>
    catchUp().catch((err: unknown) => log.error({ err }, 'the plan waits for the disk')),
  );
  onClose('what the disk refused', () => catchingUp.stop());
  const crl = await SiteCrl.open({ site, siteCa: () => identity.siteCa, revocations, clock, log });
  onClose('revocation list', () => crl.close());
  const upkeep = async (): Promise<void> => {
    if (crl.isDue) await crl.sign();
    await revocationAge.note();
  };
  const tend = () =>
    upkeep().catch((err: unknown) => log.error({ err }, 'the revocation list was not tended'));
  const tending = schedule(hourly, tend);
  onClose('upkeep of the revocation list', async () => {
    await tending.stop();
    await tend();
  });
  const silence = schedule(everyMinute, () => lifecycles.checkSilence());
  onClose('watch for silence', () => silence.stop());

  const certificate = await ServerCertificate.open(
    { siteCa, root, clock, log, hosts: () => [...hosts, ...machineHosts()] },
    { dataDirectory: dataDir, gatewayId: record.gateway_id },
  );
  const refresh = schedule(hourly, () => certificate.refresh());
  onClose('renewal of the server certificate', () => refresh.stop());

  const identifying = {
    root,
    siteCas: () => identity.siteCas,
    site: record.site,
    isRevoked: revocations.isRevoked,
    refusal: lifecycles.refusal,
    clock,
  };
  const known = (device: string) => knownDevice(devices.get(device));
  const requireWritable = (what: StaleStop) => () => {
    fence.check();
    revocationAge.check(what);
  };
  const renewal = await openRenewal(
    {
      ...{ site, clock, log, siteCa, revocations, policy, identifying, known },
      ...{ requireWritable: requireWritable('renewal'), schedule, onClose },
    },
    { supersededAfterMs: supersededAfterS * 1_000 },
  );
  const claims = new SiteClaims({
    store: site,
    clock,
    planned: () => plan.current()?.documents.claims.get('claims')?.body.codes ?? [],
    site: record.site,
  });
  const pruneClaims = () =>
    claims.prune().catch((err: unknown) => log.error({ err }, 'codes could not be pruned'));
  const pruning = schedule(daily, pruneClaims);
  onClose('pruning of codes', () => pruning.stop());
  const manufacturers = new Manufacturers({
    clock,
    planned: () =>
      plan.current()?.documents.manufacturers.get('manufacturers')?.body.manufacturers ?? [],
    isRevoked: revocations.isRevoked,
  });
  const targetTokens = await TargetTokens.open({
    ...{ site, clock, devices },
    requireWritable: (what) =>
      what === 'enrolment' ? requireWritable('enrolment')() : fence.check(),
  });
  lifecycles.onUnserved(({ device, isGone }) => {
    if (isGone) targetTokens.forget(device);
  });
  const enrolment = new DeviceEnrolment(
    {
      site,
      clock,
      siteCa,
      root,
      claims,
      pairing,
      manufacturers,
      revocations,
      admit: devices.admit,
      admitted: (admitted, at) => {
        // Whatever its predecessor could still use is gone with that commit.
        targetTokens.forget(admitted.device);
        devices.admitted(admitted, at);
      },
      known,
      lifetimes: () => policy().deviceCertificates,
      requireWritable: requireWritable('enrolment'),
      ports,
    },
    record,
  );
  const rootCrl = () =>
    plan.current()?.documents.revocations.get('revocations')?.body.root_crl ?? null;
  return {
    ...{ revocations, crl, rootCrl, revocationAge, lifecycles, policy },
    ...{ certificate, claims, enrolment, targetTokens },
    ...renewal,
  };
};

/**
 * What the plan says of certificates and devices: as it is found, before anybody is let in, and from then on. Returns what catches up with
 * whatever the disk refused.
 */
const followPlan = async ({
  plan,
  revocations,
  lifecycles,
  log,
}: Pick<Trust, 'revocations' | 'lifecycles'> & Pick<TrustDependencies, 'plan' | 'log'>): Promise<
  () => Promise<void>
> => {
  let isBehind = false;
  const followAll = async (): Promise<void> => {
    const documents = plan.current()?.documents;
    await revocations.follow(documents?.revocations.get('revocations')?.body);
    await lifecycles.follow(documents?.device.values() ?? []);
  };
  await followAll();
  plan.onChange(({ plan: { documents }, changed }) => {
    const follow = async (): Promise<void> => {
      await revocations.follow(documents.revocations.get('revocations')?.body);
      await lifecycles.follow(changed.device.set);
    };
    follow().catch((err: unknown) => {
      isBehind = true;
      log.error({ err }, 'what the plan says of devices is taken up within a minute');
    });
  });
  return async () => {
    await revocations.store();
    if (!isBehind) return;
    isBehind = false;
    try {
      await followAll();
    } catch (error) {
      isBehind = true;
      throw error;
    }
  };
};

const knownDevice = (device: Device | undefined): KnownDevice | undefined =>
  device && { model: device.model, lifecycle: device.lifecycle.state };
