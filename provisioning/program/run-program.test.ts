import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runChild, startChild } from './children.js';
import { parseReadyLine } from './ready.js';
import { socketClosed } from './socket-closed.js';

const bin = fileURLToPath(new URL('../../program/fixtures/server.mjs', import.meta.url));

const messages = (stderr: string): string[] =>
  stderr
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).msg);

t.test('serves until SIGTERM, closes in reverse and exits with 0', async (t) => {
  const child = await startChild({ bin });
  t.ok((child.ports.grpc ?? 0) > 0);
  const socket = connect(child.ports.grpc ?? 0, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  const exit = await child.stop();
  t.same(exit, { code: 0, signal: null });
  t.same(messages(child.stderrTail()).slice(1), ['stopping', 'closed server', 'closed first']);
  t.same(await child.stop(), exit, 'stopping twice is no mistake');
  t.same(await child.kill(), exit);
});

t.test('what is too slow to close does not keep the program', async (t) => {
  const child = await startChild({ bin, args: ['--test.close-ms', '60000'] });
  t.same(await child.stop(), { code: 1, signal: null });
  t.match(child.stderrTail(), /"part":"server".*did not close in time/);
});

t.test('whoever ignores SIGTERM is killed after the limit', async (t) => {
  const child = await startChild({ bin, args: ['stubborn'] });
  t.same(await child.stop(100), { code: null, signal: 'SIGKILL' });
});

t.test('ends with its parent, however that ends', async (t) => {
  // A parent that is killed outright: it can tell its child nothing.
  const parent = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { startChild } = await import(${JSON.stringify(new URL('./children.js', import.meta.url))});
       const child = await startChild({ bin: ${JSON.stringify(bin)} });
       console.log(JSON.stringify({ pid: child.pid, port: child.ports.grpc }));
       await new Promise(() => setInterval(() => undefined, 1000));`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } },
  );
  const [line] = await once(createInterface({ input: parent.stdout }), 'line');
  const { port } = JSON.parse(line);
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const closed = socketClosed(socket);
  socket.resume();
  parent.kill('SIGKILL');
  await closed;
  t.pass('the child has ended its connections');
});

t.test('each end has its exit code', async (t) => {
  for (const [args, code] of [
    [['once'], 0],
    [['fail'], 1],
    [['lose'], 1],
    [['crash'], 70],
    [['reject'], 70],
    [['--nope'], 78],
    [['--ports.grpc', '70000'], 78],
    [['misconfigured'], 78],
  ] as const) {
    const result = await runChild({ bin, args });
    t.equal(result.code, code, args.join(' '));
    if (code !== 0) t.not(result.stderr, '', `${args.join(' ')} says why`);
  }
});

t.test('tells programs of errors in JSON', async (t) => {
  const flag = await runChild({ bin, args: ['--json', '--nope'] });
  t.equal(flag.code, 78);
  t.match(JSON.parse(flag.stderr), { error: { code: 'CONFIGURATION_INVALID', message: /--nope/ } });
  const command = await runChild({ bin, args: ['misconfigured', '--json'] });
  t.equal(command.code, 78);
  t.match(JSON.parse(command.stderr), {
    error: { code: 'CONFIGURATION_INVALID', message: 'no such disk' },
  });
});

t.test('losing what it cannot do without ends it in order', async (t) => {
  const { stderr } = await runChild({ bin, args: ['lose'] });
  t.same(messages(stderr).slice(1), ['lost the disk', 'closed server', 'closed first']);
});

t.test('shows help and version on stdout', async (t) => {
  const help = await runChild({ bin, args: ['--help'] });
  t.equal(help.code, 0);
  t.match(help.stdout, /holdfast-fixture: a program for tests/);
  t.match((await runChild({ bin, args: ['--version'] })).stdout, /holdfast-fixture 1\.2\.3/);
});

t.test('secrets and codes do not get into logs', async (t) => {
  const { stderr } = await runChild({ bin, args: ['lose'] });
  t.match(stderr, /"token":"\[redacted\]"/);
  t.match(stderr, /"secret":"\[redacted\]"/);
  t.notMatch(stderr, /abcdef/);
});

t.test('a child that does not get ready fails with the end of its stderr', async (t) => {
  await t.rejects(startChild({ bin, args: ['fail'] }), {
    code: 'CHILD_FAILED',
    message: /server\.mjs ended with exit code 1[\s\S]*could not/,
  });
  await t.rejects(startChild({ bin: `${bin}.missing` }), { code: 'CHILD_FAILED' });
  await t.rejects(startChild({ bin, wrapper: ['/nonexistent/wrapper'] }), { code: 'CHILD_FAILED' });
  await t.rejects(startChild({ bin, args: ['hang'], timeoutMs: 500 }), {
    code: 'DEADLINE_EXCEEDED',
  });
  const controller = new AbortController();
  const starting = startChild({ bin, args: ['hang'], signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.rejects(starting, { message: 'enough' });
});

t.test('a wrapper runs the program and gets what it gets', async (t) => {
  const child = await startChild({ bin, wrapper: ['env', 'X=1'] });
  t.same(await child.kill(), { code: null, signal: 'SIGKILL' });
});

t.test('the ready line is read strictly', async (t) => {
  t.same(parseReadyLine('{"ready":true,"ports":{"link":7443}}'), { link: 7443 });
  for (const line of [
    '',
    'ready',
    '{"ready":false,"ports":{}}',
    '{"ready":true,"ports":{"a":"b"}}',
  ]) {
    t.equal(parseReadyLine(line), undefined);
  }
});
