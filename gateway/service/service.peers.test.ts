import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import t from 'tap';
import { gatewayConfiguration } from '../configuration.js';
import { gatewayUnit } from './units.js';

const run = promisify(execFile);

const units = {
  bare: '',
  lines: 'serial: {lines: [{device: press-1, path: /dev/ttyUSB0}]}\nlisten: {httpsPort: 443}',
};

for (const [name, text] of Object.entries(units)) {
  t.test(`systemd finds nothing wrong with the unit (${name}), and little exposed`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-unit-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const unit = gatewayUnit({
      configuration: readConfiguration(gatewayConfiguration, { name: 'site.yaml', text }),
      // A program that is there: verify looks.
      command: [process.execPath, '/usr/lib/holdfast-gateway/gateway/bin/holdfast-gateway.js'],
      dataDir: '/var/lib/holdfast',
      user: 'daemon',
    });
    const path = join(folder, 'holdfast-gateway.service');
    await writeFile(path, unit);
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
      encoding: 'utf8',
    });
    const complaints = verified.stderr
      .split('\n')
      .filter((line) => line.includes('holdfast-gateway'));
    t.same(complaints, []);
    const { stdout } = await run('systemd-analyze', ['security', '--offline=true', path]);
    const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    t.comment(`exposure ${exposure} of 10`);
    t.ok(exposure > 0 && exposure < 2.5, `exposure ${exposure}`);
  });
}
