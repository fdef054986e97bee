import t from 'tap';
import { enrollArguments } from './gateways.js';

t.test("gives the gateway's own program its flags, --data among them", async (t) => {
  t.same(
    enrollArguments(['--data', 'logins', 'gateway', 'enroll', 'hfg1-x', '--data', 'gw']),
    ['enroll', 'hfg1-x', '--data', 'gw'],
    'a --data before the command is the folder of the logins',
  );
});
