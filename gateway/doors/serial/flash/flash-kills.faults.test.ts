import t from 'tap';
import { type KillPoint, killAt, nameOf, pagesOfFlash } from './test-kill-flash.js';

/** More than a flash has, so that its end is among them. */
const mostCommits = 60;

const whole = { attempt: 1, status: 'succeeded', holds: '2.0.0' };

t.test(
  'a gateway that is killed at any commit of a flash gets there after its restart',
  async (t) => {
    for (let commit = 1; commit <= mostCommits; commit += 1) {
      for (const when of ['before', 'after'] as const) {
        const point: KillPoint = { commit, when };
        const outcome = await killAt(t, point);
        t.match(outcome, whole, nameOf(point));
        if (!outcome.wasReached) {
          t.ok(commit > 8, `a flash has ${commit - 1} commits`);
          return;
        }
      }
    }
    t.fail('a flash has more commits than were tried');
  },
);

for (const what of ['gateway', 'board', 'both'] as const) {
  t.test(`${what} killed at any page of a flash gets there after the restart`, async (t) => {
    for (let page = 1; page <= pagesOfFlash; page += 1) {
      const point: KillPoint = { page, what };
      t.match(await killAt(t, point), { ...whole, wasReached: true }, nameOf(point));
    }
  });
}
