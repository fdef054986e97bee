import { hashPassword } from '@holdfast/provisioning/pki/password-hash';
import t from 'tap';
import { ServiceAccounts } from './service-accounts.js';

const password = 'correct horse';
const secret = Buffer.from(password);

t.test('a service is known by user and password, and by nothing less', async (t) => {
  const account = { user: 'meter', publish: ['a/#'], subscribe: ['b/#'] };
  const accounts = new ServiceAccounts([
    { ...account, passwordHash: await hashPassword(password) },
  ]);
  t.same(await accounts.authenticate('meter', secret), {
    kind: 'service',
    name: 'meter',
    publish: ['a/#'],
    subscribe: ['b/#'],
  });
  t.equal(await accounts.authenticate('meter', Buffer.from('wrong')), undefined);
  t.equal(await accounts.authenticate('meter', new Uint8Array()), undefined);
  t.equal(await accounts.authenticate('constructor', secret), undefined);
});

t.test(
  'many connections of a service cost one check, and a wrong password none the less fails',
  async (t) => {
    const account = { user: 'meter', publish: [], subscribe: [] };
    const accounts = new ServiceAccounts([
      { ...account, passwordHash: await hashPassword(password) },
    ]);
    const together = Array.from({ length: 100 }, () => accounts.authenticate('meter', secret));
    t.ok((await Promise.all(together)).every((identity) => identity?.name === 'meter'));
    t.equal((await accounts.authenticate('meter', secret))?.name, 'meter');
    t.equal(await accounts.authenticate('meter', Buffer.from('wrong')), undefined);
  },
);

t.test('a broken hash lets nobody in', async (t) => {
  for (const passwordHash of ['', 'scrypt', 'scrypt$$', 'plain$a$correct horse']) {
    const accounts = new ServiceAccounts([{ user: 'a', passwordHash, publish: [], subscribe: [] }]);
    t.equal(await accounts.authenticate('a', secret), undefined, passwordHash);
  }
});

t.test('guesses wait their turn, and too many are refused at once', async (t) => {
  const accounts = new ServiceAccounts([]);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, at) => accounts.authenticate('a', Buffer.from(`guess ${at}`))),
  );
  t.equal(answers.length, 40);
  t.notOk(answers.some((answer) => answer !== undefined));
});
