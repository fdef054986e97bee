/** Certificates of running agents are renewed by themselves, in real programs, while telemetry flows. */
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { openRotatingSite } from './rotating-agents.js';

t.setTimeout(180_000);

t.test('renewals lose no point and drop no session', async (t) => {
  const devices = ['pump', 'press'];
  const rotating = await openRotatingSite(devices, { lifetimeS: 10 });
  t.teardown(() => rotating.close());
  const { agents, site } = rotating;
  for (const agent of agents) await agent.start();
  await waitUntil(
    'every device has renewed twice and said something since',
    async () => {
      for (const device of devices) if ((await rotating.renewals(device)) < 2) return false;
      return true;
    },
    { deadlineMs: 120_000 },
  );
  for (const { device, log } of agents) {
    const before = [...(await rotating.points(device)).values()].flat().length;
    await waitUntil('it goes on', async () => {
      const boots = [...(await rotating.points(device)).values()];
      return boots.flat().length > before + 10;
    });
    const boots = [...(await rotating.points(device)).values()];
    t.equal(boots.length, 1);
    const [seqs = []] = boots;
    const [first = 0, last = 0] = [seqs[0], seqs.at(-1)];
    t.equal(seqs.length, last - first + 1, `${device}: ${seqs.length} points, none is missing`);
    t.same(
      log.filter((line) => line.includes('"not connected"')),
      [],
      'its session went over each time',
    );
  }
  const states = await site.read<{ body: string }>(
    `SELECT body FROM journal_state WHERE kind = 'device' ORDER BY seq`,
  );
  for (const device of devices) {
    const online = states
      .map(({ body }) => JSON.parse(body) as { device: string; online: boolean })
      .filter((state) => state.device === device)
      .map((state) => state.online);
    const since = online.slice(Math.max(0, online.indexOf(true)));
    t.notOk(since.includes(false), `${device} was never offline: ${online.join()}`);
  }
});
