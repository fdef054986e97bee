/** People at a site, across processes: given a password in the cloud, they sign in at the gateway while its WAN is cut. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import * as v from 'valibot';
import { runChild } from '../program/children.js';
import { waitUntil } from '../program/wait-until.js';
import { Fleet, site } from './fleet.js';
import { bins } from './programs.js';

t.setTimeout(300_000);
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const people = v.array(v.object({ user: v.string(), role: v.string(), source: v.string() }));

t.test(
  'a technician who was added in the cloud signs in at the gateway without a WAN',
  async (t) => {
    const dataDirectory = await mkdtemp(join(tmpdir(), 'holdfast-people-'));
    const fleet = await Fleet.open({
      dataDirectory,
      agents: 0,
      simulated: 0,
      hasSerial: false,
      log,
      args: { gateway: ['--link.first-retry-ms=50', '--link.most-retry-ms=500'] },
    });
    t.teardown(async () => {
      await fleet.close();
      await rm(dataDirectory, { recursive: true });
    });
    const laptop = join(dataDirectory, 'laptop');
    /** The command of somebody with a machine of his own, where nobody has logged in before. */
    const onLaptop = async (password: string, ...args: string[]) => {
      const child = spawn(process.execPath, [bins.holdfast, '--json', '--data', laptop, ...args]);
      child.stdin.end(`${password}\n`);
      const [out, error] = await Promise.all([text(child.stdout), text(child.stderr)]);
      return { out: out === '' ? undefined : JSON.parse(out), error };
    };
    const listAtGateway = async () =>
      v.parse(people, await fleet.holdfast('--gateway', 'user', 'list'));

    const added = v.parse(
      v.object({ password: v.string(), next: v.string() }),
      await fleet.holdfast('user', 'add', 'anna', '--site', site, '--generate'),
    );
    t.same(
      await listAtGateway().then((rows) => rows.filter(({ source }) => source !== 'plan')),
      [],
    );
    await waitUntil('the gateway knows her', async () => (await listAtGateway()).length === 1);
    fleet.wan.set('cut');

    const { stdout } = await runChild({
      bin: bins.gateway,
      args: ['fingerprint', '--data', fleet.folder('gateway')],
    });
    const fingerprint = stdout.trim();
    t.match(fingerprint, /^[0-9a-f]{64}$/);
    t.equal(added.next, `holdfast gateway login HOST --user anna --root ${fingerprint}`);
    const address = `127.0.0.1:${fleet.port('console')}`;
    const login = ['gateway', 'login', address, '--user', 'anna'];
    t.match(
      await onLaptop(added.password, ...login),
      { error: /--root/ },
      'nothing is trusted blindly',
    );
    const wrongRoot = await onLaptop(added.password, ...login, '--root', '0'.repeat(64));
    t.match(wrongRoot.error, /PEER_REFUSED/);
    const wrong = await onLaptop('not-the-password', ...login, '--root', fingerprint);
    t.match(wrong.error, /NOT_AUTHENTICATED/);
    t.match((await onLaptop(added.password, ...login, '--root', fingerprint)).out, {
      user: 'anna',
      role: 'technician',
    });
    t.match((await onLaptop('', '--gateway', 'status')).out, { site });
    t.match((await onLaptop('', '--gateway', 'user', 'list')).error, /NOT_AUTHORISED/);
    const profile = join(laptop, 'gateway.json');
    t.equal((await stat(profile)).mode & 0o777, 0o600);
    t.notMatch(await readFile(profile, 'utf8'), added.password);
    await onLaptop('', 'gateway', 'logout');
    t.match((await onLaptop('', '--gateway', 'status')).error, /NOT_AUTHENTICATED/);

    // Removed in the cloud: she signs in until the site knows, and no longer.
    t.match((await onLaptop(added.password, 'gateway', 'login', '--user', 'anna')).out, {});
    await fleet.holdfast('user', 'set-role', 'anna', 'viewer', '--site', site);
    fleet.wan.set('up');
    const roleAtGateway = async () => (await listAtGateway()).map(({ role }) => role).join();
    await waitUntil('her role is another', async () => (await roleAtGateway()) === 'viewer');
    await fleet.holdfast('user', 'remove', 'anna', '--site', site);
    await waitUntil('she is gone', async () => (await roleAtGateway()) === '');
    t.match((await onLaptop('', '--gateway', 'status')).error, /NOT_AUTHENTICATED/);
  },
);
