import t from 'tap';
import { campaignBody, HandPlan } from '../updates/updates-fixture.js';
import { firmwareOf } from './firmware-fixture.js';
import { nextUrgentAt, wantedImages } from './wanted-images.js';

const firmware = (version: string) => firmwareOf(Buffer.from(version), version);
const now = 5_000;

const wantedOf = (
  campaigns: Parameters<HandPlan['set']>[0],
  images: Parameters<HandPlan['set']>[1],
) => {
  const plan = new HandPlan();
  plan.set(campaigns, images);
  const view = plan.current();
  return view === undefined
    ? { wanted: [], next: undefined }
    : { wanted: wantedImages(view, now), next: nextUrgentAt(view, now) };
};

const limited = (bytesPerS: number | null) => ({
  ...campaignBody().policy,
  wan_bytes_per_s: bytesPerS,
});

t.test('what a campaign waits for is first, then what starts first', async (t) => {
  const { wanted, next } = wantedOf(
    {
      later: campaignBody({ firmware: ['pi@3'], started_at: 9_000 }),
      soon: campaignBody({ firmware: ['pi@2'], started_at: 8_000 }),
      running: campaignBody({ firmware: ['pi@4'], started_at: 1_000 }),
    },
    ['1', '2', '3', '4'].map(firmware),
  );
  t.same(
    wanted.map(({ body, isUrgent }) => [body.version, isUrgent]),
    [
      ['4', true],
      ['2', false],
      ['3', false],
      ['1', false],
    ],
  );
  t.equal(next, 8_000);
});

t.test('a paused campaign waits for nothing, a cancelled one wants nothing', async (t) => {
  const { wanted, next } = wantedOf(
    {
      paused: campaignBody({ firmware: ['pi@2'], state: 'paused' }),
      cancelled: campaignBody({ firmware: ['pi@3'], state: 'cancelling', started_at: 9_000 }),
      job: campaignBody({ firmware: [], document: {} }),
    },
    ['2', '3'].map(firmware),
  );
  t.match(wanted, [{ body: { version: '2' }, isUrgent: false, campaigns: ['paused'] }]);
  t.equal(wanted.length, 1);
  t.equal(next, undefined);
});

t.test('an image has what the campaign allows that allows it most', async (t) => {
  const limitOf = (...limits: (number | null)[]) => {
    const campaigns = limits.map((limit, i) => [`c${i}`, campaignBody({ policy: limited(limit) })]);
    return wantedOf(Object.fromEntries(campaigns), [firmware('2')]).wanted[0]?.bytesPerS;
  };
  t.equal(limitOf(), null);
  t.equal(limitOf(1_000), 1_000);
  t.equal(limitOf(1_000, 3_000, 2_000), 3_000);
  t.equal(limitOf(1_000, null), null);
});
