/** A control plane that is restored from a backup gets back what only its site still holds, its own writes among it. Both programs. */
import { cp, rm } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { openSiteWithCloud, siteId } from './site-with-cloud.js';

t.setTimeout(240_000);

t.test('what it wrote after the backup comes back from the site, unless it lost', async (t) => {
  const both = await openSiteWithCloud();
  t.teardown(() => both.close());
  const { site } = both;
  const name = (shadow: string) => `sites/${siteId}/devices/pump/shadows/${shadow}`;
  const edit = (desired: Record<string, unknown>, shadow = '-') =>
    both.api.call(both.api.shadows, both.api.shadows.updateShadow, {
      ...{ name: name(shadow), desired, version: undefined },
    });
  const inCloud = async (shadow = '-') => {
    const { api } = both;
    const found = await api
      .call(api.shadows, api.shadows.getShadow, { name: name(shadow) })
      .catch(() => undefined);
    return found?.desired;
  };
  const onSite = async (shadow = '-') =>
    (await site.ask('GET', `/api/v1/devices/pump/shadows/${shadow}`)).body.desired;
  const agree = (desired: object, shadow = '-') =>
    waitUntil(`both ends have ${JSON.stringify(desired)}`, async () => {
      const ends = [await inCloud(shadow), await onSite(shadow)];
      return ends.every((end) => isDeepStrictEqual(end, desired));
    });

  await site.enrol('pump');
  await both.inStep();
  await edit({ old: 1, both: 'before' });
  await agree({ old: 1, both: 'before' });
  await both.inStep();
  await both.whileCloudIsStopped((folder) => cp(folder, `${folder}.backup`, { recursive: true }));

  await edit({ lost: 'by the cloud', both: 'after' });
  await edit({ whole: true }, 'lost');
  const patch = { state: { desired: { on_site: 2 } } };
  t.equal((await site.ask('PATCH', '/api/v1/devices/pump/shadows/-', patch)).status, 200);
  const all = { old: 1, both: 'after', lost: 'by the cloud', on_site: 2 };
  await agree(all);
  await agree({ whole: true }, 'lost');
  await both.inStep();

  await both.whileCloudIsStopped(async (folder) => {
    await rm(folder, { recursive: true });
    await cp(`${folder}.backup`, folder, { recursive: true });
  });
  await agree(all);
  await agree({ whole: true }, 'lost');
  await waitUntil('the site has told everything', async () => {
    const rows = await site.read<{ turn: number }>('SELECT turn FROM shadow_telling');
    return rows.length === 0;
  });
  await both.inStep();
  await edit({ next: 3 });
  await agree({ ...all, next: 3 });
});
