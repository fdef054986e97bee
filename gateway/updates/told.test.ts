import { parseUpdateDocument } from '@holdfast/protos/mqtt/update-document';
import t from 'tap';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

t.test('a device is told the deltas that are held here, in words that it can read', async (t) => {
  const site = await openTestSite(t);
  const image = firmwareBody();
  const delta = {
    ...{ from_sha256: 'a'.repeat(64), from_version: '1', format: 'bsdiff43+br' },
    ...{ sha256: 'd'.repeat(64), size_bytes: 5, path: '/there' },
  };
  site.firmware.deltas.set(image.sha256, [delta]);
  site.firmware.come(image);
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  const asked = async () => {
    const answer = await life.updates.asked('a', null);
    return parseUpdateDocument(answer.accepted ? answer.execution?.document : undefined);
  };
  t.match(await asked(), {
    ok: true,
    value: {
      deltas: [
        {
          from_sha256: delta.from_sha256,
          url: `/firmware/sha256/${delta.sha256}`,
          format: delta.format,
          sha256: delta.sha256,
          size_bytes: 5,
        },
      ],
    },
  });
  site.firmware.deltas.clear();
  const { value } = (await asked()) as { value: object };
  t.notOk('deltas' in value);
});
