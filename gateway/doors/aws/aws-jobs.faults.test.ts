/** The jobs topics of AWS IoT with the power cut at every commit. */
import t from 'tap';
import { document, jobBody, openJobsSite } from './aws-jobs-fixture.js';

t.test('a power cut at any commit loses no job, and none is told twice in a life', async (t) => {
  for (let at = 1, wasCut = true; wasCut; at += 1) {
    for (const when of ['before', 'after'] as const) {
      const { start, plan, statuses, sent } = await openJobsSite(t);
      plan.set({ j1: jobBody(document) });
      let life = await start({ at, when });
      /** As a client does: what was not acknowledged is sent again when it is back. */
      const surely = async (rest: string, payload: object): Promise<void> => {
        for (;;) {
          try {
            if (life.isDead) throw new Error('the power is off');
            await Promise.race([life.send('pi-1', rest, payload), life.dead]);
            await Promise.race([life.settle(), life.dead]);
            if (!life.isDead) return;
          } catch {
            await life.dead;
          }
          await life.close();
          sent.length = 0;
          life = await start();
          await life.connect('pi-1');
        }
      };
      const first = life;
      await Promise.race([life.connect('pi-1'), life.dead]).catch(() => undefined);
      await surely('start-next', { statusDetails: { step: '1' } });
      await surely('j1/update', { status: 'IN_PROGRESS', statusDetails: { step: '2' } });
      await surely('j1/update', { status: 'SUCCEEDED' });
      await life.settle();
      wasCut = life !== first;
      t.same(await statuses('j1'), { 'pi-1': 'succeeded' }, `cut ${when} commit ${at}`);
      const told = sent.filter(
        ({ topic, body }) => topic.endsWith('/notify-next') && body.execution,
      );
      t.ok(told.length <= 1, `told ${told.length} times`);
      t.match((await life.ask('pi-1', 'get')).body, { inProgressJobs: [], queuedJobs: [] });
      await life.close();
    }
  }
});
