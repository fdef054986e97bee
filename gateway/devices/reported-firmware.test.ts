import t from 'tap';
import type { ShadowChange } from '../shadows/shadow-change.js';
import { reportedFirmware } from './reported-firmware.js';

const changeTo = (reported: ShadowChange['timestamp'] | object, name = '-'): ShadowChange => {
  const version = { state: { reported }, metadata: {}, version: 1 } as unknown;
  const documents = { previous: version, current: version } as ShadowChange['documents'] & object;
  return { device: 'pump', name, version: 1, timestamp: 1, documents };
};

t.test(
  'learns the version that a device reports, once, and only from its classic shadow',
  async (t) => {
    const learned: unknown[] = [];
    const stored: string[] = [];
    const reported: unknown[] = [];
    let firmwareVersion: string | null = null;
    const listener = reportedFirmware({
      devices: {
        get: () => ({ firmwareVersion }),
        learned: (device, facts) => {
          learned.push([device, facts]);
          firmwareVersion = facts.firmwareVersion ?? null;
        },
        stored: async (device) => {
          stored.push(device);
        },
      },
      reported: async (device, version) => void reported.push([device, version]),
    });
    const { signal } = new AbortController();
    const tell = (change: ShadowChange) => listener.shadowChanged(change, signal);
    await tell(changeTo({ firmware: { version: '2.0.0' } }, 'named'));
    await tell(changeTo({ firmware: 'none' }));
    await tell(changeTo({ firmware: { version: 7 } }));
    await tell({ device: 'pump', name: '-', version: 1, timestamp: 1 });
    t.same(learned, []);
    await tell(changeTo({ firmware: { version: '2.0.0' } }));
    await tell(changeTo({ firmware: { version: '2.0.0' }, other: 1 }));
    t.same(learned, [['pump', { firmwareVersion: '2.0.0' }]]);
    t.same(stored, ['pump', 'pump'], 'and each time it is on disk before that counts as done');
  },
);
