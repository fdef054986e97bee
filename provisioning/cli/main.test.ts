import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { runChild } from '../program/children.js';
import { bins } from '../quickstart/programs.js';

t.test('ends in order when its reader has gone', async (t) => {
  const child = spawn(process.execPath, [bins.holdfast, '--help'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  t.equal(said, '');
  t.equal(code, 0);
});

t.test('says its version, and what to do next to programs, too', async (t) => {
  t.match(await runChild({ bin: bins.holdfast, args: ['--version'] }), {
    code: 0,
    stdout: /^holdfast \d+\.\d+\.\d+\n$/,
  });
  const upload = ['--json', 'firmware', 'upload', 'none', '--model', 'm', '--version', '2.0.0'];
  const said = await runChild({ bin: bins.holdfast, args: [...upload, '--data', t.testdir()] });
  t.equal(said.stdout, '', 'and no version of its own where firmware has one');
  // Nobody listens at port 1.
  const login = JSON.stringify({ address: '127.0.0.1:1', root_pem: '', token: 'x' });
  const folder = t.testdir({ 'gateway.json': login });
  const args = ['--json', '--gateway', '--data', folder, 'device', 'list'];
  const refused = await runChild({ bin: bins.holdfast, args });
  t.equal(refused.code, 1);
  t.match(JSON.parse(refused.stderr), {
    error: { code: 'CONNECTION_FAILED', data: { next: /holdfast gateway doctor/ } },
  });
});

t.test('tells programs of a wrong command line in JSON', async (t) => {
  for (const wrong of [['device', 'get'], ['device', 'get', '--bogus'], ['nosuch']]) {
    const said = await runChild({ bin: bins.holdfast, args: ['--json', ...wrong] });
    t.equal(said.code, 64);
    t.match(JSON.parse(said.stderr), { error: { code: 'REQUEST_INVALID', message: /./ } });
  }
});
