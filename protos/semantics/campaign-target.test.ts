import t from 'tap';
import { type CampaignTarget, everyDevice } from '../link/campaign-document.js';
import { type Targetable, targetDecider } from './campaign-target.js';

const pump: Targetable = {
  device: 'pump-1',
  model: 'pump',
  version: '1.5',
  labels: { hall: 'a', line: '2' },
  groups: new Set(['wet']),
};
const image = { id: 'pump@2.0', model: 'pump', version: '2.0' };

const decide = (
  target: Partial<CampaignTarget>,
  device: Partial<Targetable> = {},
  { isJob = false, allowsOlder = [] as string[], of = image as typeof image | null } = {},
) =>
  targetDecider({ ...everyDevice, ...target }, { isJob, allowsOlder })(
    { ...pump, ...device },
    of ?? undefined,
  );

t.test('everything that a target names has to fit', async (t) => {
  const fits: Partial<CampaignTarget>[] = [
    {},
    { models: ['valve', 'pump'] },
    { device_ids: ['pump-1'] },
    { groups: ['dry', 'wet'] },
    { attributes: { hall: 'a' } },
    { current_versions: ['1.5'] },
    { version_range: '>=1 <2' },
  ];
  const misfits: Partial<CampaignTarget>[] = [
    { models: ['valve'] },
    { device_ids: ['pump-2'] },
    { groups: ['dry'] },
    { attributes: { hall: 'a', line: '3' } },
    { attributes: { constructor: 'x' } },
    { current_versions: ['1.4'] },
    { version_range: '<1.5' },
    { version_range: 'nonsense' },
  ];
  for (const target of fits) t.equal(decide(target), 'targeted', JSON.stringify(target));
  for (const target of misfits) t.equal(decide(target), 'other', JSON.stringify(target));
  t.equal(decide(Object.assign({}, ...fits)), 'targeted');
  for (const target of misfits) t.equal(decide(Object.assign({}, ...fits, target)), 'other');
});

t.test(
  'what runs the image needs no update, and nobody goes back unless that is allowed',
  async (t) => {
    t.equal(decide({}, { version: '2.0' }), 'current');
    t.equal(decide({}, { version: '2.1' }), 'newer');
    t.equal(decide({}, { version: '2.1' }, { allowsOlder: ['pump@2.0'] }), 'targeted');
    t.equal(decide({}, { version: 'custom' }), 'targeted', 'not comparable');
    t.equal(decide({}, { version: null }), 'targeted');
    t.equal(decide({ version_range: '>=0' }, { version: null }), 'other', 'in no range');
  },
);

t.test('an update is for the models that it has an image of, a job for any', async (t) => {
  t.equal(decide({}, { model: 'valve' }), 'other');
  t.equal(decide({}, {}, { of: null }), 'other');
  t.equal(decide({}, { model: 'valve' }, { isJob: true, of: null }), 'targeted');
  t.equal(decide({}, { version: '9' }, { isJob: true, of: null }), 'targeted');
});
