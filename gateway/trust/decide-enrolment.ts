/**
 * Decides who may have a certificate of this site, by what it shows: a one-time code, the certificate of its manufacturer, or the
 * certificate of this site that it has. Pure; whoever asks gathers the state, makes the certificate and commits.
 */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import type { ClaimsBody, ManufacturersBody } from '@holdfast/protos/link/plan-documents';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { isServed, type LifecycleState, nextLifecycle } from '@holdfast/protos/semantics/lifecycle';

/** What a device shows, verified as far as a signature goes; whether it is enough is decided here. */
export type EnrolmentProof = CodeProof | ManufacturerProof | CertificateProof;

export interface CodeProof {
  readonly kind: 'code';
  /** Of secret and site, as claims have it. */
  readonly hash: string;
}

/** A certificate that leads to an authority of a manufacturer of the plan. */
export interface ManufacturerProof {
  readonly kind: 'manufacturer';
  /** SHA-256 of the certificate: it enrols one device, once. */
  readonly hash: string;
  readonly manufacturer: Manufacturer;
  /** What the certificate calls the device: its serial number attribute or its common name. */
  readonly name: string;
}

/** A certificate of this site, unrevoked by whoever verified it; it may have expired. */
export interface CertificateProof {
  readonly kind: 'certificate';
  readonly device: string;
  readonly serial: string;
  /** Epoch ms. */
  readonly expiresAt: number;
}

export type Manufacturer = Omit<ManufacturersBody['manufacturers'][number], 'certificates'>;

/** A code that may be used. */
export type OpenClaim = Omit<ClaimsBody['codes'][number], 'hash'>;

/** What the device asks for. */
export interface EnrolmentWish {
  /** The id it gives itself; over EST, the common name of its request. */
  readonly device: string | undefined;
  readonly model: string | undefined;
  /** SHA-256 of its public key (SPKI). */
  readonly publicKeySha256: string;
}

/** What a code or a manufacturer's certificate enrolled before. */
export interface UsedProof {
  readonly device: string;
  readonly publicKeySha256: string;
}

/** What counts of a device that the site has. */
export interface KnownDevice {
  readonly model: string;
  readonly lifecycle: LifecycleState;
}

export interface EnrolmentState {
  /** Epoch ms. */
  readonly now: number;
  /** While the clock is not, nothing expires. */
  readonly isClockTrusted: boolean;
  readonly siteCaExpiresAt: number;
  /** What the proof is good for, where it is a code. */
  readonly claim: OpenClaim | undefined;
  readonly used: UsedProof | undefined;
  readonly device: (id: string) => KnownDevice | undefined;
}

export type EnrolmentDecision = EnrolmentGrant | EnrolmentRepeat | EnrolmentRefusal;

export interface EnrolmentGrant {
  readonly kind: 'granted';
  readonly device: string;
  /** Empty where neither the device nor its proof says it. */
  readonly model: string;
  /** Whether the id may be one in use: the certificate is another of the same device, or the code was made to replace it. */
  readonly mayBeInUse: boolean;
}

/** The same key again: the answer was lost, and is given again. */
export interface EnrolmentRepeat {
  readonly kind: 'repeated';
  readonly device: string;
}

export interface EnrolmentRefusal {
  readonly kind: 'refused';
  readonly code: ErrorCode;
  /** Says what to do. */
  readonly message: string;
}

/** How long after its end a certificate that nobody revoked still gets its device a new one. */
export const reEnrolmentGraceMs = 90 * 86_400_000;

export const decideEnrolment = (
  state: EnrolmentState,
  proof: EnrolmentProof,
  wish: EnrolmentWish,
): EnrolmentDecision => {
  if (state.isClockTrusted && state.now > state.siteCaExpiresAt) {
    return refuse(
      'SITE_CA_EXPIRED',
      'the certificate authority of this site has expired: connect the gateway to its control plane',
    );
  }
  switch (proof.kind) {
    case 'code':
      return decideByCode(state, wish);
    case 'manufacturer':
      return decideByManufacturer(state, proof, wish);
    case 'certificate':
      return decideByCertificate(state, proof, wish);
  }
};

const decideByCode = (state: EnrolmentState, wish: EnrolmentWish): EnrolmentDecision => {
  const { claim, used } = state;
  if (used !== undefined) {
    if (used.publicKeySha256 === wish.publicKeySha256) return repeat(used);
    return refuse(
      'CLAIM_USED',
      `this code has enrolled ${used.device} already; ask for a new one: holdfast device claim ${used.device}`,
    );
  }
  if (claim === undefined) {
    return refuse(
      'CLAIM_UNKNOWN',
      'this site does not know the code. If it was made in the cloud while the WAN is down, make one here: holdfast --gateway device claim ID',
    );
  }
  if (state.isClockTrusted && state.now > claim.expires_at) {
    return refuse('CLAIM_EXPIRED', 'this code has expired; ask for a new one');
  }
  const device = claim.device_id ?? wish.device;
  if (device === undefined) {
    return refuse(
      'REQUEST_INVALID',
      'this code leaves the id to the device: say which (holdfast-device enroll CODE --id ID)',
    );
  }
  if (!isDeviceId(device)) return noDeviceId(device);
  if (wish.device !== undefined && wish.device !== device) {
    return refuse('REQUEST_INVALID', `this code is for ${device} alone`);
  }
  if (claim.model !== null && wish.model !== undefined && wish.model !== claim.model) {
    return refuse(
      'REQUEST_INVALID',
      `this code is for devices of the model ${claim.model} alone, not ${wish.model}`,
    );
  }
  // A code that names its device was made to replace it; any other may not take a name that is in use.
  const mayBeInUse = claim.device_id !== null;
  const known = state.device(device);
  if (known !== undefined && !mayBeInUse) return idInUse(device);
  if (known !== undefined && nextLifecycle(known.lifecycle, 'enrolled') === undefined) {
    return barred(device, known);
  }
  return grant(device, wish.model ?? claim.model ?? '', mayBeInUse);
};

const decideByManufacturer = (
  state: EnrolmentState,
  { manufacturer, name }: ManufacturerProof,
  wish: EnrolmentWish,
): EnrolmentDecision => {
  const { id, id_prefix: prefix, models } = manufacturer;
  const { used } = state;
  const device = name.startsWith(prefix) ? name : `${prefix}${name}`;
  if (!isDeviceId(device)) return noDeviceId(device);
  if (wish.device !== undefined && wish.device !== device) {
    return refuse('REQUEST_INVALID', `the certificate of its manufacturer is that of ${device}`);
  }
  if (used?.publicKeySha256 === wish.publicKeySha256) return repeat(used);
  const [only, ...others] = models;
  const model = wish.model ?? (others.length === 0 ? only : undefined);
  if (model === undefined || !models.includes(model)) {
    const may = `${id} may enrol the models ${models.join(', ')} here`;
    return refuse(
      'MANUFACTURER_REFUSED',
      model === undefined
        ? `${may}, and the device does not say which it is. Over EST, where it cannot, give each model a prefix of its own: holdfast manufacturer add`
        : `${may}, not ${model}`,
    );
  }
  if (state.device(device) !== undefined) return idInUse(device);
  return grant(device, model, false);
};

const decideByCertificate = (
  state: EnrolmentState,
  { device, expiresAt }: CertificateProof,
  wish: EnrolmentWish,
): EnrolmentDecision => {
  if (wish.device !== undefined && wish.device !== device) {
    return refuse('REQUEST_INVALID', `this certificate is that of ${device}: it renews no other`);
  }
  if (state.isClockTrusted && state.now > expiresAt + reEnrolmentGraceMs) {
    return refuse(
      'CERTIFICATE_EXPIRED',
      `the certificate expired more than 90 days ago. Enrol with a new code: holdfast device claim ${device}`,
    );
  }
  const known = state.device(device);
  if (known !== undefined && !isServed(known.lifecycle)) return barred(device, known);
  return grant(device, wish.model ?? known?.model ?? '', true);
};

const grant = (device: string, model: string, mayBeInUse: boolean): EnrolmentGrant => ({
  kind: 'granted',
  device,
  model,
  mayBeInUse,
});

const repeat = ({ device }: UsedProof): EnrolmentRepeat => ({ kind: 'repeated', device });

const refuse = (code: ErrorCode, message: string): EnrolmentRefusal => ({
  kind: 'refused',
  code,
  message,
});

const barred = (device: string, { lifecycle }: KnownDevice): EnrolmentRefusal =>
  lifecycle === 'retired'
    ? refuse('RESOURCE_STATE_WRONG', `${device} was retired; only a new code brings the id back`)
    : refuse('RESOURCE_STATE_WRONG', `${device} is ${lifecycle}: it has to be enabled first`);

const noDeviceId = (device: string): EnrolmentRefusal =>
  refuse('REQUEST_INVALID', `'${device}' is no device id: 1 to 64 of letters, digits, _ and -`);

export const idInUse = (device: string): EnrolmentRefusal =>
  refuse(
    'RESOURCE_EXISTS',
    `there is a device ${device} already. Take another id, or replace that device with a code for it: holdfast device claim ${device}`,
  );
