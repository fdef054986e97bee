/** What the machine boots: a kernel of the distribution, a first file system of busybox, and the gateway with its packages as a disk. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface GuestImages {
  readonly kernel: string;
  readonly initrd: string;
  /** The gateway's programs lie in it below `/app/gateway`; read only. */
  readonly system: string;
}

const top = fileURLToPath(new URL('../../..', import.meta.url));
const init = fileURLToPath(new URL('../../powercut/guest-init', import.meta.url));
const modules = ['virtio_pci', 'virtio_blk', 'virtio_net'];
const workspaces = ['protos', 'provisioning', 'devices', 'gateway'];
const systemSize = '512M';
const needed = {
  'qemu-system-x86_64': 'qemu-system-x86',
  mke2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  cpio: 'cpio',
  modprobe: 'kmod',
  busybox: 'busybox-static',
};
const path = `${process.env.PATH}:/usr/sbin:/sbin`;

/** Runs a program of the system and gives its output; `input` goes in. */
export const runTool = (name: string, args: readonly string[], input?: string, cwd?: string) =>
  execFileSync(name, args, {
    env: { ...process.env, PATH: path },
    stdio: 'pipe',
    maxBuffer: 256 * 1024 * 1024,
    ...(input !== undefined && { input }),
    ...(cwd !== undefined && { cwd }),
  });

/** Throws with what to install when something is missing. */
export const requireTools = (): void => {
  const folders = path.split(':');
  const packages = Object.entries(needed).flatMap(([name, from]) =>
    folders.some((folder) => existsSync(join(folder, name))) ? [] : [from],
  );
  if (kernelVersion() === undefined) packages.push('linux-image-cloud-amd64');
  if (packages.length === 0) return;
  throw new Error(`power cuts need: apt-get install ${[...new Set(packages)].join(' ')}`);
};

export const buildGuest = (folder: string): GuestImages => {
  const version = kernelVersion();
  if (version === undefined) throw new Error('there is no kernel');
  return {
    kernel: `/boot/vmlinuz-${version}`,
    initrd: buildInitrd(folder, version),
    system: buildSystem(folder),
  };
};

/** An ext4 image of a folder, without mounting anything. */
export const buildDisk = (image: string, folder: string, size: string): void => {
  runTool('mke2fs', ['-q', '-t', 'ext4', '-d', folder, image, size]);
};

const kernelVersion = (): string | undefined =>
  readdirSync('/boot')
    .map((name) => /^vmlinuz-(.*-cloud-amd64)$/.exec(name)?.[1] ?? '')
    .filter((version) => version !== '' && existsSync(`/lib/modules/${version}`))
    .sort()
    .at(-1);

const buildInitrd = (folder: string, version: string): string => {
  const root = join(folder, 'initrd');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'root', 'modules']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  cpSync(init, join(root, 'init'));
  putBusybox(root, ['sh']);
  const files = modules.flatMap((name) =>
    runTool('modprobe', ['-S', version, '--show-depends', name])
      .toString()
      .split('\n')
      .flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []),
  );
  const order = [...new Set(files)];
  for (const file of order) cpSync(file, join(root, 'modules', basename(file)));
  writeFileSync(join(root, 'modules/order'), order.map((file) => `${basename(file)}\n`).join(''));
  const list = runTool('find', ['.'], undefined, root).toString();
  const image = join(folder, 'initrd.cpio');
  writeFileSync(image, runTool('cpio', ['-o', '-H', 'newc', '--quiet'], list, root));
  return image;
};

const buildSystem = (folder: string): string => {
  const root = join(folder, 'system');
  for (const name of ['bin', 'proc', 'dev', 'tmp', 'data', 'app']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  const node = realpathSync(process.execPath);
  cpSync(node, join(root, 'bin/node'));
  const app = join(root, 'app');
  for (const workspace of workspaces) {
    for (const part of ['package.json', 'dist', 'bin']) {
      const from = join(top, workspace, part);
      if (existsSync(from)) cpSync(from, join(app, workspace, part), { recursive: true });
    }
  }
  const list = ['ls', '--omit=dev', '--all', '--parseable', '--workspace', '@holdfast/gateway'];
  const packages = runTool('npm', list, undefined, top)
    .toString()
    .split('\n')
    .map((line) => relative(top, line))
    .filter((line) => line.includes('node_modules/'));
  for (const name of packages) {
    // A workspace's own link stays a link.
    cpSync(join(top, name), join(app, name), { recursive: true, verbatimSymlinks: true });
  }
  const addons = runTool('find', [join(app, 'node_modules/sqlite3'), '-name', '*.node']);
  const binaries = [node, ...addons.toString().split('\n').filter(Boolean)];
  for (const library of librariesOf(binaries)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    cpSync(library, join(root, library), { dereference: true });
  }
  const image = join(folder, 'system.img');
  buildDisk(image, root, systemSize);
  return image;
};

const putBusybox = (root: string, names: readonly string[]): void => {
  const busybox = path
    .split(':')
    .map((folder) => join(folder, 'busybox'))
    .find(existsSync);
  if (busybox === undefined || isDynamic(busybox)) {
    throw new Error('busybox must be the static one: apt-get install busybox-static');
  }
  cpSync(busybox, join(root, 'bin/busybox'));
  for (const name of names) symlinkSync('busybox', join(root, 'bin', name));
};

/** `ldd` ends with 1 for what needs no libraries. */
const isDynamic = (binary: string): boolean =>
  spawnSync('ldd', [binary], { stdio: 'ignore' }).status === 0;

const librariesOf = (binaries: readonly string[]): string[] => {
  const lines = binaries.map((binary) => runTool('ldd', [binary]).toString()).join('\n');
  return [...new Set(lines.match(/\/[^\s()]+/g) ?? [])].filter(
    (file) => file.includes('.so') && existsSync(file),
  );
};
