import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import type { KnownUser } from './local-users.js';
import { PeopleSessions } from './people-sessions.js';

const user = (name: string): KnownUser => ({
  user: name,
  role: 'viewer',
  passwordHash: `of ${name}`,
  source: 'gateway',
});

t.test('the sessions of one user are bounded: the one unused for longest goes', async (t) => {
  const { monotonic } = new ManualClock();
  const sessions = new PeopleSessions({ users: { find: user }, monotonic }, { maxOfUser: 3 });
  const tokens = [1, 2, 3].map(() => sessions.open(user('anna')));
  const [first = ''] = tokens;
  t.ok(sessions.find(first), 'used, so it is not the one that goes');
  const fourth = sessions.open(user('anna'));
  t.same(
    [...tokens, fourth].map((token) => sessions.find(token) !== undefined),
    [true, false, true, true],
  );
});

t.test('the sessions of all are bounded, and so is what is remembered of their ends', async (t) => {
  const { monotonic } = new ManualClock();
  const sessions = new PeopleSessions({ users: { find: user }, monotonic }, { maxSessions: 50 });
  const tokens = Array.from({ length: 200 }, (_, at) => sessions.open(user(`u${at}`)));
  t.equal(tokens.filter((token) => sessions.find(token) !== undefined).length, 50);
  const known = tokens.filter((token, at) => sessions.clientOf(`u${at}`, token) !== undefined);
  t.equal(known.length, 50);
});

t.test('an earlier token says who one was, and lets nobody in', async (t) => {
  const clock = new ManualClock();
  const { monotonic } = clock;
  const sessions = new PeopleSessions({ users: { find: user }, monotonic }, { idleMs: 10 });
  const token = sessions.open(user('anna'));
  clock.advance(10);
  t.equal(sessions.find(token), undefined);
  t.ok(sessions.clientOf('anna', token));
  t.equal(sessions.clientOf('bert', token), undefined);
  t.equal(sessions.clientOf('anna', undefined), undefined);
});
