import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { gatewayConfiguration } from '../configuration.js';
import { installService } from './install-service.js';
import { openServiceNotifier } from './notify.js';
import { gatewayUnit } from './units.js';

const read = (text: string) => readConfiguration(gatewayConfiguration, { name: 'site.yaml', text });
const options = {
  command: ['/usr/bin/holdfast-gateway'],
  dataDir: '/var/lib/holdfast',
  user: 'holdfast',
};
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test(
  'the unit gives the gateway serial lines and GPIO chips, whichever the site names, and no others',
  async (t) => {
    const bare = gatewayUnit({ ...options, configuration: read('') });
    t.match(bare, /^StateDirectory=holdfast$/m);
    t.match(bare, /^CapabilityBoundingSet=$/m);
    t.match(bare, /^DevicePolicy=closed$/m);
    t.match(bare, /^DeviceAllow=char-ttyUSB rw$/m);
    t.match(bare, /^DeviceAllow=char-gpiochip rw$/m);
    const configuration = read(
      'serial: {lines: [{device: press-1, path: /dev/ttyUSB0}, {device: press-2, path: /dev/rfcomm0}]}\nlisten: {httpsPort: 443}',
    );
    const unit = gatewayUnit({ ...options, configuration, dataDir: '/srv/my data' });
    t.match(unit, /^DeviceAllow=\/dev\/rfcomm0 rw$/m);
    t.notMatch(unit, /ttyUSB0|SupplementaryGroups/);
    t.match(unit, /^AmbientCapabilities=CAP_NET_BIND_SERVICE$/m);
    t.match(unit, /^ReadWritePaths=/m);
    t.match(unit, /^ExecStart=\/usr\/bin\/holdfast-gateway --data "\/srv\/my data"$/m);
  },
);

t.test('a dry run says every step and does none', async (t) => {
  const unitFolder = join(t.testdir(), 'units');
  const run: string[] = [];
  const deps = {
    run: async (command: string, args: readonly string[]) => run.push([command, ...args].join(' ')),
    userExists: async () => false,
    // Plain Debian has no group for GPIO chips; a unit that names one does not start.
    groupExists: async (name: string) => name === 'dialout',
    isRoot: true,
  };
  const all = { ...options, configuration: read(''), unitFolder };
  const dry = await installService(deps, { ...all, isDryRun: true });
  t.same(run, []);
  await t.rejects(readFile(dry.path));
  const done = await installService(deps, { ...all, isDryRun: false });
  t.same(run, done.steps.slice(1));
  t.same(dry, done);
  t.match(run[0], /^useradd --system .* holdfast$/);
  t.equal(run[1], 'usermod -aG dialout holdfast');
  t.equal(run.at(-1), 'systemctl enable --now holdfast-gateway.service');
  t.equal(await readFile(done.path, 'utf8'), done.unit);
  await t.rejects(installService({ ...deps, isRoot: false }, { ...all, isDryRun: false }), {
    code: 'NOT_AUTHORISED',
    data: { next: /sudo/ },
  });
});

t.test('tells systemd in order, and that it is alive more often than it has to', async (t) => {
  const said: string[] = [];
  const send = async (assignments: readonly string[]) => {
    said.push(assignments.join(' '));
  };
  const env = { NOTIFY_SOCKET: '/run/x', WATCHDOG_USEC: '300000' };
  const notifier = openServiceNotifier({ log: silent, env, send });
  notifier.ready('serves');
  notifier.reloading();
  await waitUntil('two signs of life', () => said.filter((s) => s === 'WATCHDOG=1').length >= 2, {
    everyMs: 20,
  });
  notifier.close();
  t.same(said.slice(0, 2), ['READY=1 STATUS=serves', 'RELOADING=1 STATUS=beginning anew']);
  const silentOne = openServiceNotifier({ log: silent, env: {}, send });
  const before = said.length;
  silentOne.ready('nobody asked');
  t.equal(said.length, before);
});
