import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { reportGuest } from './vm/guest-report.js';

const run = promisify(execFile);
const source = fileURLToPath(new URL('../../gpio/vm/sysfs-gpio.c', import.meta.url));
const guest = fileURLToPath(new URL('./vm/guest.js', import.meta.url));

/** Where /sys/class is another for one process, and nobody else sees it. */
const script = `
mount -t tmpfs none /sys/class && mkdir /sys/class/gpio && "$1" -o entry_timeout=0,attr_timeout=0,negative_timeout=0 /sys/class/gpio
"$2" "$3" fuse
umount /sys/class/gpio`;

t.test(
  'onoff drives lines by the base of their chip, over a /sys/class/gpio of ours',
  async (t) => {
    t.setTimeout(60_000);
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-sysfs-gpio-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const program = join(folder, 'sysfs-gpio');
    const { stdout: flags } = await run('pkg-config', ['--cflags', '--libs', 'fuse3']);
    await run('gcc', ['-O2', source, '-o', program, ...flags.trim().split(/\s+/)]);
    const child = spawn(
      'unshare',
      ['-mp', '--fork', '--kill-child', 'sh', '-c', script, 'sh', program, process.execPath, guest],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    t.teardown(() => child.kill());
    t.ok(await reportGuest(t, child.stdout), 'it got to its end');
  },
);
