/**
 * Debian's kernel with the module gpio-sim, which Debian leaves out: downloaded as packages, unpacked into a folder, and the module built out
 * of Debian's own source. Nothing is installed. Needs apt's lists, dpkg-deb, xz, make, gcc, kmod, cpio and busybox-static.
 */
import { execFile } from 'node:child_process';
import {
  access,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export interface VirtualMachineFiles {
  readonly kernel: string;
  readonly initramfs: string;
}

const run = promisify(execFile);
const initScript = fileURLToPath(new URL('../../../gpio/vm/init.sh', import.meta.url));

/** What is loaded, with whatever it needs, in this order. */
const modules = ['virtio_pci', '9pnet_virtio', '9p', 'configfs', 'xhci_pci', 'ftdi_sio'];

/** `cache`: what was made before for the same kernel is taken from there. */
export const gpioSimKernel = async (cache: string): Promise<VirtualMachineFiles> => {
  const image = await dependencyOf('linux-image-amd64');
  const folder = join(cache, image);
  const files = { kernel: join(folder, 'vmlinuz'), initramfs: join(folder, 'initramfs.cpio.gz') };
  if (!(await isThere(files.kernel))) await build(folder, image);
  await pack(folder, files.initramfs);
  return files;
};

/** Made beside it and then renamed, so that a build that was cut is none. */
const build = async (folder: string, image: string): Promise<void> => {
  const made = `${folder}.new`;
  await rm(made, { recursive: true, force: true });
  for (const name of ['packages', 'root', 'headers', 'module']) {
    await mkdir(join(made, name), { recursive: true });
  }
  const release = image.replace('linux-image-', '');
  const version = /^\d+\.\d+/.exec(release)?.[0] ?? '';
  const common = `linux-headers-${release.replace(/-[^-]+$/, '')}-common`;
  const source = `linux-source-${version}`;
  const headers = [`linux-headers-${release}`, common, `linux-kbuild-${version}`];
  const packages = join(made, 'packages');
  await run('apt-get', ['-o', 'Acquire::Retries=3', 'download', '-q', image, ...headers, source], {
    cwd: packages,
  });
  const archives = await readdir(packages);
  const archiveOf = (name: string) =>
    join(packages, archives.find((archive) => archive.startsWith(`${name}_`)) ?? name);
  await run('dpkg-deb', ['-x', archiveOf(image), join(made, 'root')]);
  for (const name of headers) await run('dpkg-deb', ['-x', archiveOf(name), join(made, 'headers')]);
  const module = join(made, 'module');
  const paths = ['drivers/gpio/gpio-sim.c', 'drivers/gpio/gpiolib.h', 'kernel/irq/irq_sim.c'];
  await run('bash', ['-c', takeSources, 'bash', archiveOf(source), source, module, ...paths]);
  await makeModule(module, join(made, 'headers'), release);
  await copyFile(join(made, 'root/boot', `vmlinuz-${release}`), join(made, 'vmlinuz'));
  await run('depmod', ['-b', join(made, 'root'), release]);
  for (const name of ['packages', 'headers']) await rm(join(made, name), { recursive: true });
  await rm(folder, { recursive: true, force: true });
  await rename(made, folder);
};

/** Three files of a large archive, which is read no further than to the last of them. */
const takeSources = `
archive=$1 source=$2 to=$3
shift 3
dpkg-deb --fsys-tarfile "$archive" | tar -xO "./usr/src/$source.tar.xz" | xz -dc -T0 |
  tar -x -C "$to" --strip-components=3 --occurrence=1 "\${@/#/$source/}"`;

const makeModule = async (module: string, headers: string, release: string): Promise<void> => {
  await writeFile(
    join(module, 'Kbuild'),
    'obj-m := gpiosim.o\ngpiosim-y := gpio-sim.o irq_sim.o\n',
  );
  // The simulated interrupts are not for modules: they are built in, without what they would export, and with what modules may call.
  const path = join(module, 'irq_sim.c');
  const text = (await readFile(path, 'utf8'))
    .split('\n')
    .filter((line) => !line.startsWith('EXPORT_SYMBOL'))
    .join('\n')
    .replace('irq_to_desc(irqnum)', 'irq_data_to_desc(irq_get_irq_data(irqnum))');
  await writeFile(path, text);
  const tree = join(headers, 'usr/src', `linux-headers-${release}`);
  const makefile = join(tree, 'Makefile');
  const elsewhere = (await readFile(makefile, 'utf8')).replaceAll(
    '/usr/src/',
    `${headers}/usr/src/`,
  );
  await writeFile(makefile, elsewhere);
  await run('make', ['-C', tree, `M=${module}`, 'modules']);
};

/** BusyBox, the modules and the first program; anew each time, since that changes with us. */
const pack = async (folder: string, initramfs: string): Promise<void> => {
  const root = join(folder, 'initramfs');
  await rm(root, { recursive: true, force: true });
  for (const name of ['bin', 'proc', 'sys', 'dev', 'mod', 'newroot']) {
    await mkdir(join(root, name), { recursive: true });
  }
  await copyFile('/bin/busybox', join(root, 'bin/busybox'));
  await run('ln', ['-s', 'busybox', join(root, 'bin/sh')]);
  await copyFile(initScript, join(root, 'init'));
  await run('chmod', ['+x', join(root, 'init')]);
  const [release = ''] = await readdir(join(folder, 'root/lib/modules'));
  const order: string[] = [];
  for (const name of modules) {
    const words = ['-d', join(folder, 'root'), '-S', release, '--show-depends', name];
    const { stdout } = await run('modprobe', words);
    for (const [, path = ''] of stdout.matchAll(/^insmod (\S+)/gm)) {
      if (order.includes(basename(path))) continue;
      await copyFile(path, join(root, 'mod', basename(path)));
      order.push(basename(path));
    }
  }
  await copyFile(join(folder, 'module/gpiosim.ko'), join(root, 'mod/gpiosim.ko'));
  await writeFile(join(root, 'mod/order'), `${[...order, 'gpiosim.ko'].join('\n')}\n`);
  const archive = 'find . | cpio -o -H newc --quiet | gzip -1 > "$0"';
  await run('sh', ['-c', archive, initramfs], { cwd: root });
};

const dependencyOf = async (name: string): Promise<string> => {
  const { stdout } = await run('apt-cache', ['depends', name]);
  const found = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (found === undefined) throw new Error(`apt knows no ${name}: apt-get update`);
  return found;
};

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
