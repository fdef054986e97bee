import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import t from 'tap';
import type { Device } from '../../../devices/device.js';
import { FlashByHand, type FlashByHandDeps } from './flash-by-hand.js';

const unknown = { code: 'FIRMWARE_TARGET_UNKNOWN', message: 'the plan names no signed release' };
const bodies = ['1.0.0', '1.1.0'].map(
  (version): FirmwareBody => ({
    ...{ model: 'pump', version, sha256: version, size_bytes: 10, file_name: 'pump.hex' },
    ...{ path: `/${version}`, deltas: [] },
  }),
);
const ran = { model: 'pump', version: '1.1.0', sha256: '1.1.0', sizeBytes: 10 };

/** Every campaign is over, unless `isPlanned`; both images are still in the cache. */
const handOf = (isPlanned: boolean): FlashByHand => {
  const deps: FlashByHandDeps = {
    // Nothing else of it is asked for.
    devices: { get: () => ({ model: 'pump', firmwareVersion: '1.1.0' }) as Device },
    firmware: {
      find: (name) => bodies.find(({ version }) => name === `pump@${version}`),
      isHeld: () => true,
    },
    releases: {
      release: () => undefined,
      refusal: () => unknown,
      refusalByHand: () => unknown,
      isPlanned: () => isPlanned,
    },
  };
  return new FlashByHand(deps);
};

t.test('what was flashed here and has run may be flashed again after its campaign', async (t) => {
  const hand = handOf(false);
  const line = { part: 'atmega328p', ran };
  t.match(hand.wanted('pump-1', { ...line, version: undefined }), ran);
  t.match(hand.wanted('pump-1', { ...line, version: '1.1.0' }), ran);
  t.equal(hand.refusal('pump-1', ran, line), undefined);
  t.throws(() => hand.wanted('pump-1', { ...line, version: '1.0.0' }), {
    code: 'RESOURCE_CONFLICT',
    message: /FIRMWARE_TARGET_UNKNOWN/,
    data: { next: /start a campaign with pump@1\.0\.0/ },
  });
  t.throws(() => hand.wanted('pump-1', { ...line, ran: null, version: undefined }), {
    code: 'RESOURCE_CONFLICT',
  });
});

t.test('what the plan refuses is refused, though it has run', async (t) => {
  const hand = handOf(true);
  const line = { part: 'atmega328p', ran };
  t.throws(() => hand.wanted('pump-1', { ...line, version: undefined }), {
    code: 'RESOURCE_CONFLICT',
    message: /FIRMWARE_TARGET_UNKNOWN/,
  });
  t.equal(hand.refusal('pump-1', ran, line), unknown);
});
