import { type LifecycleState, lifecycleStates } from '@holdfast/protos/semantics/lifecycle';
import t from 'tap';
import {
  decideEnrolment,
  type EnrolmentProof,
  type EnrolmentState,
  type EnrolmentWish,
  type KnownDevice,
  reEnrolmentGraceMs,
} from './decide-enrolment.js';

const now = 1_000_000_000_000;

type Changes = Partial<Omit<EnrolmentState, 'device'>> & {
  readonly devices?: Readonly<Record<string, Partial<KnownDevice>>>;
};

const stateOf = ({ devices = {}, ...changes }: Changes = {}): EnrolmentState => ({
  now,
  isClockTrusted: true,
  siteCaExpiresAt: now + 1_000,
  claim: undefined,
  used: undefined,
  device: (id) =>
    Object.hasOwn(devices, id) ? { model: 'old', lifecycle: 'active', ...devices[id] } : undefined,
  ...changes,
});

const claimOf = (more: object = {}) => ({
  claim: { device_id: null, model: null, expires_at: now + 1_000, ...more },
});
const code: EnrolmentProof = { kind: 'code', hash: 'h' };
const made = (name: string, more: object = {}): EnrolmentProof => ({
  kind: 'manufacturer',
  hash: 'h',
  name,
  manufacturer: { id: 'acme', id_prefix: 'acme-', models: ['m1', 'm2'], ...more },
});
const certificate: EnrolmentProof = {
  kind: 'certificate',
  device: 'pump',
  serial: 'ab',
  expiresAt: now + 1_000,
};

interface Row {
  readonly what: string;
  readonly state?: Changes;
  readonly proof?: EnrolmentProof;
  readonly wish?: Partial<EnrolmentWish>;
  /** What is decided, in short. */
  readonly is: string;
}

const rows: readonly Row[] = [
  { what: 'no such code', is: 'CLAIM_UNKNOWN' },
  { what: 'an open code, no id said', state: claimOf(), is: 'REQUEST_INVALID' },
  { what: 'an open code', state: claimOf(), wish: { device: 'pump' }, is: 'pump new' },
  { what: 'an id that is none', state: claimOf(), wish: { device: '../x' }, is: 'REQUEST_INVALID' },
  {
    what: 'an id with the name of a prototype',
    state: claimOf(),
    wish: { device: '__proto__' },
    is: '__proto__ new',
  },
  {
    what: 'an open code over an id in use',
    state: { ...claimOf(), devices: { pump: {} } },
    wish: { device: 'pump' },
    is: 'RESOURCE_EXISTS',
  },
  { what: 'a code for one id', state: claimOf({ device_id: 'pump' }), is: 'pump also in use' },
  {
    what: 'a code for one id, which the device says too',
    state: claimOf({ device_id: 'pump' }),
    wish: { device: 'pump' },
    is: 'pump also in use',
  },
  {
    what: 'a code for another id',
    state: claimOf({ device_id: 'pump' }),
    wish: { device: 'valve' },
    is: 'REQUEST_INVALID',
  },
  {
    what: 'a code for one model',
    state: claimOf({ device_id: 'pump', model: 'm1' }),
    wish: { model: 'm1' },
    is: 'pump also in use',
  },
  {
    what: 'a code for another model',
    state: claimOf({ device_id: 'pump', model: 'm1' }),
    wish: { model: 'm2' },
    is: 'REQUEST_INVALID',
  },
  {
    what: 'a code for one model, of which the device says nothing',
    state: claimOf({ device_id: 'pump', model: 'm1' }),
    wish: { model: undefined },
    is: 'pump also in use',
  },
  {
    what: 'a code that expires now',
    state: claimOf({ device_id: 'pump', expires_at: now }),
    is: 'pump also in use',
  },
  {
    what: 'a code that has expired',
    state: claimOf({ device_id: 'pump', expires_at: now - 1 }),
    is: 'CLAIM_EXPIRED',
  },
  {
    what: 'the same while the clock is not trusted',
    state: { ...claimOf({ device_id: 'pump', expires_at: now - 1 }), isClockTrusted: false },
    is: 'pump also in use',
  },
  {
    what: 'a used code with the same key',
    state: { used: { device: 'pump', publicKeySha256: 'key' } },
    is: 'pump again',
  },
  {
    what: 'a used code with another key',
    state: { ...claimOf(), used: { device: 'pump', publicKeySha256: 'other' } },
    is: 'CLAIM_USED',
  },
  {
    what: 'a site whose authority has expired',
    state: { ...claimOf({ device_id: 'pump' }), siteCaExpiresAt: now - 1 },
    is: 'SITE_CA_EXPIRED',
  },
  {
    what: 'the same while the clock is not trusted',
    state: {
      ...claimOf({ device_id: 'pump' }),
      siteCaExpiresAt: now - 1,
      isClockTrusted: false,
    },
    is: 'pump also in use',
  },

  { what: 'a number without the prefix', proof: made('7'), is: 'acme-7 new' },
  { what: 'a name with it', proof: made('acme-7'), is: 'acme-7 new' },
  { what: 'a name that makes no id', proof: made('no id'), is: 'REQUEST_INVALID' },
  { what: 'a name too long for one', proof: made('7'.repeat(60)), is: 'REQUEST_INVALID' },
  { what: 'the id it has', proof: made('7'), wish: { device: 'acme-7' }, is: 'acme-7 new' },
  { what: 'another id', proof: made('7'), wish: { device: 'pump' }, is: 'REQUEST_INVALID' },
  {
    what: 'a model it may not',
    proof: made('7'),
    wish: { model: 'm3' },
    is: 'MANUFACTURER_REFUSED',
  },
  { what: 'no model', proof: made('7'), wish: { model: undefined }, is: 'MANUFACTURER_REFUSED' },
  {
    what: 'no model where there is one',
    proof: made('7', { models: ['m1'] }),
    wish: { model: undefined },
    is: 'acme-7 new',
  },
  {
    what: 'an id in use',
    proof: made('7'),
    state: { devices: { 'acme-7': {} } },
    is: 'RESOURCE_EXISTS',
  },
  {
    what: 'the same key again',
    proof: made('7'),
    state: { devices: { 'acme-7': {} }, used: { device: 'acme-7', publicKeySha256: 'key' } },
    is: 'acme-7 again',
  },
  {
    what: 'another key of a device that is there',
    proof: made('7'),
    state: { devices: { 'acme-7': {} }, used: { device: 'acme-7', publicKeySha256: 'other' } },
    is: 'RESOURCE_EXISTS',
  },
  {
    what: 'another key of a device that is gone',
    proof: made('7'),
    state: { used: { device: 'acme-7', publicKeySha256: 'other' } },
    is: 'acme-7 new',
  },

  { what: 'its own certificate', proof: certificate, is: 'pump also in use' },
  {
    what: 'its own, after the site lost its database',
    proof: certificate,
    state: { devices: {} },
    is: 'pump also in use',
  },
  {
    what: 'the certificate of another',
    proof: certificate,
    wish: { device: 'valve' },
    is: 'REQUEST_INVALID',
  },
  {
    what: 'one that expired as long ago as it may',
    proof: { ...certificate, expiresAt: now - reEnrolmentGraceMs },
    is: 'pump also in use',
  },
  {
    what: 'one that expired longer ago',
    proof: { ...certificate, expiresAt: now - reEnrolmentGraceMs - 1 },
    is: 'CERTIFICATE_EXPIRED',
  },
  {
    what: 'the same while the clock is not trusted',
    proof: { ...certificate, expiresAt: 0 },
    state: { isClockTrusted: false },
    is: 'pump also in use',
  },
];

/** By a code that names the device, by its manufacturer, by the certificate it has. */
const byLifecycle: Readonly<Record<LifecycleState, readonly [string, string, string]>> = {
  provisioning: ['pump also in use', 'RESOURCE_EXISTS', 'pump also in use'],
  active: ['pump also in use', 'RESOURCE_EXISTS', 'pump also in use'],
  inactive: ['pump also in use', 'RESOURCE_EXISTS', 'pump also in use'],
  disabled: ['RESOURCE_STATE_WRONG', 'RESOURCE_EXISTS', 'RESOURCE_STATE_WRONG'],
  retired: ['pump also in use', 'RESOURCE_EXISTS', 'RESOURCE_STATE_WRONG'],
};

const inShort = ({ state, proof = code, wish }: Row): string => {
  const decision = decideEnrolment(stateOf(state), proof, {
    device: undefined,
    model: 'm1',
    publicKeySha256: 'key',
    ...wish,
  });
  if (decision.kind === 'refused') return decision.code;
  if (decision.kind === 'repeated') return `${decision.device} again`;
  return `${decision.device} ${decision.mayBeInUse ? 'also in use' : 'new'}`;
};

t.test('decides on what is shown, asked for and known', async (t) => {
  for (const row of rows) t.equal(inShort(row), row.is, row.what);
});

t.test('goes by where the life of a device stands', async (t) => {
  for (const lifecycle of lifecycleStates) {
    const devices = { pump: { lifecycle } };
    const [byCode, byMaker, byOwn] = byLifecycle[lifecycle];
    const named = { ...claimOf({ device_id: 'pump' }), devices };
    t.equal(inShort({ what: '', state: named, is: '' }), byCode, `${lifecycle}, by a code`);
    const maker = made('pump', { id_prefix: 'pu' });
    t.equal(inShort({ what: '', state: { devices }, proof: maker, is: '' }), byMaker, lifecycle);
    const own = { what: '', state: { devices }, proof: certificate, is: '' };
    t.equal(inShort(own), byOwn, `${lifecycle}, by its own`);
  }
});

t.test('takes the model from whoever says it', async (t) => {
  const model = (proof: EnrolmentProof, state: Changes, said: string | undefined) => {
    const wish = { device: undefined, model: said, publicKeySha256: 'key' };
    const decision = decideEnrolment(stateOf(state), proof, wish);
    return decision.kind === 'granted' ? decision.model : decision;
  };
  const named = claimOf({ device_id: 'pump', model: 'm1' });
  t.equal(model(code, named, undefined), 'm1', 'the code');
  t.equal(model(code, claimOf({ device_id: 'pump' }), 'm2'), 'm2', 'the device');
  t.equal(model(code, claimOf({ device_id: 'pump' }), undefined), '', 'nobody');
  t.equal(model(made('7', { models: ['m1'] }), {}, undefined), 'm1', 'the manufacturer');
  t.equal(model(certificate, { devices: { pump: {} } }, undefined), 'old', 'what is known');
});

t.test('says to whom it refuses what to do', async (t) => {
  for (const row of rows) {
    const wish = { device: undefined, model: 'm1', publicKeySha256: 'key', ...row.wish };
    const decision = decideEnrolment(stateOf(row.state), row.proof ?? code, wish);
    if (decision.kind === 'refused') t.ok(decision.message.length > 20, decision.message);
  }
});
