import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t from 'tap';
import { TestCloud } from './test-cloud.js';
import { openTestGateway } from './test-gateway.js';

const program = fileURLToPath(new URL('./test-gateway-program.js', import.meta.url));
const kills = process.env.HOLDFAST_FAULTS_SLICE === '1' ? 6 : 12;

t.test(
  'killed with -9 again and again: what was committed arrives, once',
  { timeout: 110_000 },
  async (t) => {
    const fleet = await createTestFleet();
    const cloud = await TestCloud.open(fleet, { windowBytes: 16 * 1024 });
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-kills-'));
    const { tls } = await fleet.gateway('gw-1');
    t.teardown(async () => {
      await cloud.close();
      await rm(dir, { recursive: true });
    });
    const options = {
      dir,
      address: `127.0.0.1:${cloud.port}`,
      fleet: fleet.fleet,
      site: fleet.site,
      tls,
    };
    const committed = new Set<string>();
    let orders = 0;

    for (let round = 1; round <= kills; round += 1) {
      const file = join(dir, 'settings.json');
      const rootPem = fleet.root.certificate.pem;
      await writeFile(file, JSON.stringify({ ...options, rootPem, boot: `b${round}` }));
      const child = start(file, (line) => committed.add(line));
      const hellos = cloud.hellos.length;
      await cloud.until(() => cloud.hellos.length > hellos);
      const until = performance.now() + 50 + Math.random() * 300;
      while (performance.now() < until) {
        orders += 1;
        const body = { device: 'd', command: `${orders}`, type: 't', payload: null, expires_at: 1 };
        await cloud.give({ kind: 'command', body });
        await pause(5);
      }
      child.kill('SIGKILL');
      await once(child, 'close');
    }

    const last = await openTestGateway({ ...options, root: fleet.root.certificate });
    t.teardown(() => last.close());
    last.link.open();
    const told = (): Set<string> =>
      new Set([
        ...cloud
          .entries('state')
          .map(({ body }) => `state ${(body as { campaign: string }).campaign}`),
        ...cloud.entries('telemetry').map(({ body }) => {
          const { boot, seq } = body as { boot: string; seq: number };
          return `point ${boot}/${seq}`;
        }),
      ]);
    await cloud.until(() => {
      const { backlog } = last.link.status();
      return backlog.state + backlog.telemetry === 0 && cloud.ordersCommitted === orders;
    });
    t.comment(`${committed.size} committed, ${orders} orders, ${cloud.hellos.length} connections`);
    t.ok(committed.size > 8 * kills);
    const arrived = told();
    t.same(
      [...committed].filter((line) => !arrived.has(line)),
      [],
      'nothing is missing',
    );
    const entries = cloud.entries('state').length + cloud.entries('telemetry').length;
    t.equal(entries, arrived.size, 'nothing came twice');
    t.equal(cloud.logs.size, cloud.entries('audit').length > 0 ? 3 : 2, 'no log was given up');
    t.notOk(cloud.entries('audit').some(({ kind }) => kind === 'order_failed'));
    const rows = await last.store.read.all('SELECT command FROM commands');
    t.equal(rows.length, orders, 'every order took effect once');
  },
);

const start = (settings: string, onLine: (line: string) => void): ChildProcess => {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawn(process.execPath, [program, settings], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface({ input: child.stdout }).on('line', onLine);
  return child;
};
