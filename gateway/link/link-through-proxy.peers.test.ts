import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { freePort } from '@holdfast/provisioning/program/free-port';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { connectThrough } from '@holdfast/provisioning/transfer/connect-proxy';
import t from 'tap';
import { TestCloud } from './test-cloud.js';
import { openTestGateway } from './test-gateway.js';

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });

t.test('the link goes through tinyproxy with a password', async (t) => {
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet);
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-tinyproxy-'));
  const port = await freePort();
  const file = join(dir, 'tinyproxy.conf');
  const settings = ['Listen 127.0.0.1', `Port ${port}`, `ConnectPort ${cloud.port}`];
  await writeFile(file, [...settings, 'BasicAuth anna secret', ''].join('\n'));
  const tinyproxy = spawn('tinyproxy', ['-d', '-c', file], { stdio: 'ignore' });
  await waitUntil('tinyproxy', () => answers(port), { deadlineMs: 10_000, everyMs: 50 });
  const via = { host: '127.0.0.1', port };
  const { tls } = await fleet.gateway('gw-1');
  const gateway = await openTestGateway({
    dir,
    address: `127.0.0.1:${cloud.port}`,
    fleet: fleet.fleet,
    site: fleet.site,
    root: fleet.root.certificate,
    tls,
    via: { ...via, credentials: 'anna:secret' },
  });
  t.teardown(async () => {
    await gateway.close();
    tinyproxy.kill();
    await cloud.close();
    await rm(dir, { recursive: true });
  });
  gateway.link.open();
  await cloud.until(() => cloud.hellos.length > 0);

  const to = { host: '127.0.0.1', port: cloud.port };
  await t.rejects(connectThrough(via, to), { message: /wants a user and password/ });
  await t.rejects(connectThrough({ ...via, credentials: 'anna:secret' }, { ...to, port: 1 }), {
    message: /does not allow CONNECT/,
  });
});
