/** `npm run package:deb`: builds the Debian packages of the gateway. `-- --arch amd64` builds one, `--fast` packs it loosely. */
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bytes } from '@holdfast/provisioning/cli/terminal';
import { architectures } from './architecture.js';
import { buildDeb } from './build-deb.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
const top = fileURLToPath(new URL('../../..', import.meta.url));

const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: Object.keys(architectures).join(',') },
    out: { type: 'string', default: 'packages' },
    version: { type: 'string', default: version },
    fast: { type: 'boolean', default: false },
  },
});

for (const name of values.arch.split(',')) {
  const architecture = architectures[name];
  if (architecture === undefined) throw new Error(`--arch: there is no ${name}`);
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const began = performance.now();
  const built = buildDeb({
    architecture,
    top: resolve(top),
    cache: join(resolve(top), 'node_modules/.cache/holdfast-package'),
    out,
    version: values.version,
    compression: values.fast ? 'gzip' : 'xz',
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  process.stdout.write(
    `${built.path}  ${bytes(built.sizeBytes)}, installed ${bytes(built.installedBytes)}, in ${seconds} s\n`,
  );
}
