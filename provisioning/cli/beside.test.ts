import t from 'tap';
import { argumentsOf } from './beside.js';

t.test("gives the gateway's own program its flags, --data among them", async (t) => {
  t.same(
    argumentsOf(
      ['--data', 'logins', 'gateway', 'enroll', 'hfg1-x', '--data', 'gw'],
      ['gateway', 'enroll'],
    ),
    ['enroll', 'hfg1-x', '--data', 'gw'],
    'a --data before the command is the folder of the logins',
  );
  t.same(argumentsOf(['--json', 'site', 'plan', 'a.yaml'], ['site', 'plan']), [
    'plan',
    'a.yaml',
    '--json',
  ]);
});
