/**
 * Two versions of a file from Debian's packages for arm64, whatever this machine is: apt with lists of its own, below a folder that goes
 * again. Nothing is installed.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface DebianPair {
  readonly name: string;
  /** Package and suite of the older one and of the newer one. */
  readonly from: readonly [name: string, suite: string];
  readonly to: readonly [name: string, suite: string];
  /** Whether the package only depends on the one that is meant. */
  readonly isMeta?: boolean;
  /** The file's path in the package, or its beginning. */
  readonly file: string;
  /** Takes minutes. */
  readonly isLarge?: boolean;
}

export const debianPairs: readonly DebianPair[] = [
  {
    name: 'u-boot for the Pi 4',
    from: ['u-boot-rpi', 'bookworm'],
    to: ['u-boot-rpi', 'trixie'],
    file: 'usr/lib/u-boot/rpi_4/u-boot.bin',
  },
  {
    name: 'start4.elf of the Pi',
    from: ['raspi-firmware', 'bookworm'],
    to: ['raspi-firmware', 'trixie'],
    file: 'usr/lib/raspi-firmware/start4.elf',
  },
  {
    name: 'arm64 kernel',
    from: ['linux-image-arm64', 'bookworm'],
    to: ['linux-image-arm64', 'bookworm-security'],
    isMeta: true,
    file: 'boot/vmlinuz-',
    isLarge: true,
  },
];

export const fetchPair = async (
  pair: DebianPair,
  folder: string,
): Promise<{ readonly label: string; readonly from: string; readonly to: string }> => {
  const apt = await openApt(folder);
  const from = await fetchFile(apt, pair, pair.from, join(folder, pair.name, 'from'));
  const to = await fetchFile(apt, pair, pair.to, join(folder, pair.name, 'to'));
  return { label: `${pair.name} ${from.version} → ${to.version}`, from: from.path, to: to.path };
};

interface Apt {
  /** Where it puts what it loads. */
  readonly root: string;
  run(program: string, ...args: readonly string[]): Promise<string>;
}

const openApt = async (folder: string): Promise<Apt> => {
  const root = join(folder, 'apt');
  const config = join(root, 'apt.conf');
  const apt: Apt = {
    root,
    async run(program, ...args) {
      const env = { ...process.env, APT_CONFIG: config };
      const { stdout } = await run(program, [...args], { env, cwd: root, maxBuffer: 2 ** 28 });
      return stdout;
    },
  };
  if (await readdir(root).catch(() => undefined)) return apt;
  for (const part of ['lists/partial', 'archives/partial']) {
    await mkdir(join(root, part), { recursive: true });
  }
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const source = (path: string, suite: string): string =>
    `deb [signed-by=${keys}] http://deb.debian.org/${path} ${suite} main non-free-firmware\n`;
  await writeFile(
    join(root, 'sources.list'),
    `${source('debian', 'bookworm')}${source('debian-security', 'bookworm-security')}${source('debian', 'trixie')}`,
  );
  await writeFile(join(root, 'status'), '');
  await writeFile(
    config,
    `APT::Architecture "arm64"; APT::Architectures "arm64"; APT::Sandbox::User "";
Acquire::Languages "none"; Debug::NoLocking "1";
Dir::State "${root}"; Dir::State::status "${root}/status"; Dir::Cache "${root}";
Dir::Etc::sourcelist "${root}/sources.list"; Dir::Etc::sourceparts "-"; Dir::Etc::main "-"; Dir::Etc::parts "-";
`,
  );
  await apt.run('apt-get', 'update', '-q');
  return apt;
};

const fetchFile = async (
  apt: Apt,
  { file, isMeta = false }: DebianPair,
  [name, suite]: readonly [string, string],
  folder: string,
): Promise<{ readonly version: string; readonly path: string }> => {
  await mkdir(folder, { recursive: true });
  const wanted = isMeta ? await meantBy(apt, name, suite) : name;
  const packed = (await apt.run('apt-get', 'download', '-q', '--print-uris', `${wanted}/${suite}`))
    .split(' ')
    .at(1);
  if (packed === undefined) throw new Error(`${wanted} is not in ${suite}`);
  await apt.run('apt-get', 'download', '-q', `${wanted}/${suite}`);
  const archive = join(apt.root, packed);
  await run('dpkg-deb', ['-x', archive, folder]);
  const [, version = ''] = packed.split('_');
  return { version: decodeURIComponent(version), path: await find(folder, file) };
};

/** `linux-image-arm64` is a name for the newest kernel. */
const meantBy = async (apt: Apt, name: string, suite: string): Promise<string> => {
  const shown = await apt.run('apt-cache', 'show', `${name}/${suite}`, '--no-all-versions');
  const [, depends] = /^Depends: ([^ ,\n]+)/m.exec(shown) ?? [];
  if (depends === undefined) throw new Error(`${name} of ${suite} depends on nothing`);
  return depends;
};

const find = async (folder: string, file: string): Promise<string> => {
  const [, parent = '', beginning = ''] = /^(.*)\/([^/]*)$/.exec(file) ?? [];
  const names = await readdir(join(folder, parent));
  const name = names.find((one) => one.startsWith(beginning));
  if (name === undefined) throw new Error(`${file} is not in the package`);
  return join(folder, parent, name);
};
