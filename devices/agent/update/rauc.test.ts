import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Rauc } from './rauc.js';

/** Stands in for busctl and a RAUC behind it that never comes to its end. */
const stuckBusctl = `#!/bin/sh
case "$*" in
  *Operation) echo '{"type":"s","data":"installing"}' ;;
  *Progress) echo '{"type":"(isi)","data":[40,"Copying image",1]}' ;;
  *) echo '{}' ;;
esac
`;

t.test('waits no longer than it may for a RAUC that does not come to its end', async (t) => {
  const folder = t.testdir();
  const program = join(folder, 'busctl');
  await writeFile(program, stuckBusctl);
  await chmod(program, 0o755);
  const path = process.env.PATH;
  t.teardown(() => {
    process.env.PATH = path;
  });
  process.env.PATH = `${folder}:${path}`;
  const rauc = new Rauc({ pollMs: 5, installTimeoutMs: 500 });
  const { signal } = new AbortController();
  await t.rejects(
    rauc.write('bundle', 'b', () => undefined, signal),
    { code: 'DEADLINE_EXCEEDED', message: /installation by RAUC/ },
  );
});
