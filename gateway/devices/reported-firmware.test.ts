import t from 'tap';
import type { ShadowChange } from '../shadows/shadow-change.js';
import { reportedFirmware } from './reported-firmware.js';

const changeTo = (reported: ShadowChange['timestamp'] | object, name = '-'): ShadowChange => {
  const version = { state: { reported }, metadata: {}, version: 1 } as unknown;
  const documents = { previous: version, current: version } as ShadowChange['documents'] & object;
  return { device: 'pump', name, version: 1, timestamp: 1, documents };
};

const open = () => {
  const learned: unknown[] = [];
  const stored: string[] = [];
  const reported: unknown[] = [];
  const known: { firmwareVersion: string | null; hardware: string | null } = {
    ...{ firmwareVersion: null, hardware: null },
  };
  const listener = reportedFirmware({
    devices: {
      get: () => known,
      learned: (device, facts) => {
        learned.push([device, facts]);
        Object.assign(known, facts);
      },
      stored: async (device) => {
        stored.push(device);
      },
    },
    reported: async (device, version) => void reported.push([device, version]),
  });
  const { signal } = new AbortController();
  const tell = (change: ShadowChange) => listener.shadowChanged(change, signal);
  return { tell, learned, stored, reported };
};

t.test(
  'learns the version that a device reports, once, and only from its classic shadow',
  async (t) => {
    const { tell, learned, stored, reported } = open();
    await tell(changeTo({ firmware: { version: '2.0.0' }, device: { hardware: 'b' } }, 'named'));
    await tell(changeTo({ firmware: 'none', device: 'b' }));
    await tell(changeTo({ firmware: { version: 7 }, device: { hardware: 7 } }));
    await tell(changeTo({ device: { hardware: '' } }));
    await tell({ device: 'pump', name: '-', version: 1, timestamp: 1 });
    t.same(learned, []);
    await tell(changeTo({ firmware: { version: '2.0.0' } }));
    await tell(changeTo({ firmware: { version: '2.0.0' }, other: 1 }));
    t.same(learned, [['pump', { firmwareVersion: '2.0.0' }]]);
    t.same(stored, ['pump', 'pump'], 'and each time it is on disk before that counts as done');
    t.equal(reported.length, 2);
  },
);

t.test('learns which revision of the hardware it is, with the version or alone', async (t) => {
  const { tell, learned, stored, reported } = open();
  await tell(changeTo({ device: { model: 'pi', hardware: 'b' } }));
  t.same(learned, [['pump', { hardware: 'b' }]]);
  t.same(stored, ['pump']);
  t.same(reported, [], 'which says nothing of what runs');
  await tell(changeTo({ device: { hardware: 'c' }, firmware: { version: '2' } }));
  t.same(learned.at(-1), ['pump', { firmwareVersion: '2', hardware: 'c' }], 'in one change');
  await tell(changeTo({ device: { hardware: 'c' }, firmware: { version: '2' } }));
  t.equal(learned.length, 2);
});
