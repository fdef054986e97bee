import type { Write } from '@holdfast/provisioning/storage/write';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { AccessLog } from './access-log.js';
import type { Identity } from './identity.js';

const device = (name: string): Identity => ({
  kind: 'device',
  site: 's',
  device: name,
  serial: '1',
  issuerSerial: '2',
});
const refusal = {
  who: device('pump-1'),
  verb: 'publish',
  what: 'dt/pump-2/x',
  reason: 'TOPIC_OF_ANOTHER',
} as const;

const openLog = (options = {}) => {
  const clock = new ManualClock();
  const told: { identity: string; count: number; what: string }[] = [];
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const commit = async (write: Write): Promise<void> => {
    for (const part of write) {
      if ('row' in part) told.push(JSON.parse(String(part.row[2])));
    }
  };
  return { clock, told, access: new AccessLog({ site: { commit }, clock, log }, options) };
};

t.test(
  'the first refusal is told at once, what follows together and ever more seldom',
  async (t) => {
    const { clock, told, access } = openLog();
    const flood = (seconds: number): void => {
      for (let at = 0; at < seconds; at += 1) {
        access.refused({ ...refusal, what: `dt/pump-2/${at}` });
        clock.advance(1_000);
        access.look();
      }
    };
    flood(60);
    t.same(
      told.map(({ count }) => count),
      [1, 59],
    );
    flood(86_400);
    t.ok(told.length < 40, `${told.length} entries of a day`);
    await access.close();
    t.equal(
      told.reduce((sum, { count }) => sum + count, 0),
      86_460,
      'and none is left out',
    );
  },
);

t.test('after a silence it is the first again', async (t) => {
  const { clock, told, access } = openLog();
  for (let at = 0; at < 3; at += 1) {
    access.refused(refusal);
    clock.advance(60_000);
    access.look();
  }
  t.same(
    told.map(({ count }) => count),
    [1, 1, 1],
  );
  await access.close();
});

t.test('very many kinds are one, so that nobody fills the journal with names', async (t) => {
  const { clock, told, access } = openLog({ maxKinds: 10 });
  for (let at = 0; at < 1_000; at += 1) access.refused({ ...refusal, who: device(`d${at}`) });
  t.equal(told.length, 11);
  clock.advance(60_000);
  access.look();
  t.match(told.at(-1), { count: 989 });
  await access.close();
});

t.test('what stands in a log is printable and short', async (t) => {
  const { told, access } = openLog();
  access.refused({ ...refusal, what: `\u001b[2J\0\n${'x'.repeat(70_000)}` });
  t.match(told[0]?.what, /^\ufffd\[2J\ufffd\ufffdx+$/);
  t.equal(told[0]?.what.length, 256);
  await access.close();
});
