/** An agent that is killed at any moment of its renewals comes back with a key and a certificate that belong together. */
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { wait } from '@holdfast/provisioning/time/wait';
import t from 'tap';
import { openRotatingSite } from './rotating-agents.js';

t.setTimeout(900_000);

/** How long it is off after each kill: not at all, until what it has is due for renewal, until that is over. */
const offUntil = [0, 0, 0.7, 0, 0, 1] as const;

t.test('killed at any moment between new key and new certificate, it goes on', async (t) => {
  const plan = faultPlan();
  t.comment(plan.description);
  // So short that it renews nearly all of the time.
  const lifetimeS = 5;
  const rotating = await openRotatingSite(['pump'], { lifetimeS });
  t.teardown(() => rotating.close());
  const [agent] = rotating.agents;
  if (agent === undefined) throw new Error('no agent');
  t.teardown(() => {
    if (!t.passing()) t.comment(agent.log.slice(-40).join('\n'));
  });
  for (let turn = 0; turn < (plan.isSlice ? 6 : 60); turn += 1) {
    const before = await rotating.renewals('pump');
    await agent.start();
    await waitUntil('it renews', async () => (await rotating.renewals('pump')) > before, {
      everyMs: 5,
      deadlineMs: 120_000,
    });
    await wait(plan.random() * 60);
    await agent.kill();
    const lifeOver = offUntil[turn % offUntil.length] ?? 0;
    const lastAt = await rotating.lastIssuedAt('pump');
    await wait(lastAt + lifeOver * lifetimeS * 1_000 - Date.now());
  }
  const seen = (await rotating.points('pump')).size;
  await agent.start();
  await waitUntil('it is served', async () => (await rotating.points('pump')).size > seen, {
    deadlineMs: 120_000,
  });
  for (const [boot, seqs] of await rotating.points('pump')) {
    const [first = 0, last = 0] = [seqs[0], seqs.at(-1)];
    t.equal(seqs.length, last - first + 1, `no hole in boot ${boot}`);
  }
});
