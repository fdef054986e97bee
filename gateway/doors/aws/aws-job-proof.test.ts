/** When an update that a device says succeeded counts as such, on the jobs topics of AWS IoT. */
import t from 'tap';
import { campaignBody } from '../../updates/updates-fixture.js';
import { openWithJob } from './aws-jobs-fixture.js';

t.test('a firmware campaign succeeds with a new connection and the new version', async (t) => {
  for (const proof of ['details', 'shadow', 'shadow after the claim'] as const) {
    const { life, session, statuses } = await openWithJob(t, {
      firmware: ['pi@2'],
      document: null,
    });
    const { body } = await life.ask('pi-1', 'start-next', {});
    t.match(body.execution.jobDocument, {
      operation: 'update',
      campaign_id: 'j1',
      model: 'pi',
      version: '2',
      url: /^https:\/\/gateway:8443\/0+2\?pi-1&90000000$/,
      sha256: '2'.padStart(64, '0'),
      size_bytes: 10,
      deltas: [
        {
          from_sha256: '1'.padStart(64, '0'),
          url: /^https:\/\/gateway:8443\/d0+2\?pi-1&90000000$/,
          format: 'zstd',
          sha256: `d${'2'.padStart(63, '0')}`,
          size_bytes: 4,
        },
      ],
      image_signatures: [{ key_id: 'k', scheme: 'ed25519', signature: 'ab' }],
    });
    await life.disconnect('pi-1', session);
    await life.connect('pi-1');
    // Its test of itself, after the restart.
    await life.ask('pi-1', 'j1/update', { status: 'IN_PROGRESS', statusDetails: { s: 'test' } });
    if (proof === 'shadow') await life.door.versionReported('pi-1', '2');
    const statusDetails = proof === 'details' ? { version: '2' } : {};
    const update = { status: 'SUCCEEDED', statusDetails, includeJobExecutionState: true };
    const done = await life.ask('pi-1', 'j1/update', update);
    t.match(done.body.executionState, { status: 'SUCCEEDED' }, 'whatever is still to be proven');
    t.match((await life.ask('pi-1', 'get')).body, { inProgressJobs: [], queuedJobs: [] });
    if (proof === 'shadow after the claim') {
      t.same(await statuses('j1'), { 'pi-1': 'confirming' });
      await life.door.versionReported('pi-1', '2');
    }
    await life.settle();
    t.same(await statuses('j1'), { 'pi-1': 'succeeded' }, proof);
  }
});

t.test('a claim without a restart is no proof', async (t) => {
  const policy = { ...campaignBody().policy, retries: 0 };
  const { life, clock, statuses } = await openWithJob(t, {
    ...{ firmware: ['pi@2'], document: null, policy },
  });
  await life.ask('pi-1', 'start-next', { statusDetails: { version: '1' } });
  await life.ask('pi-1', 'j1/update', { status: 'SUCCEEDED', statusDetails: { version: '2' } });
  await life.settle();
  t.same(await statuses('j1'), { 'pi-1': 'confirming' });
  clock.advance(policy.confirm_timeout_ms);
  await life.settle();
  t.same(await statuses('j1'), { 'pi-1': 'failed' });
});
