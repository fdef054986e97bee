/**
 * The tools of libgpiod 2 out of Debian 13, for a machine whose own are 1.6's: downloaded as packages and unpacked into a folder with the C
 * library they were built for. Nothing is installed. Needs apt and dpkg-deb.
 */
import { execFile } from 'node:child_process';
import { access, chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const release = 'trixie';
const packages = ['gpiod', 'libc6', 'libgpiod3'];
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Resolves with the folder of the tools, for PATH; what was made before is taken from `cache`. */
export const newerGpiod = async (cache: string): Promise<string> => {
  const folder = join(cache, `gpiod-${release}`);
  const tools = join(folder, 'tools');
  const isMade = await access(tools).then(
    () => true,
    () => false,
  );
  if (isMade) return tools;
  await rm(folder, { recursive: true, force: true });
  const made = `${folder}.new`;
  await rm(made, { recursive: true, force: true });
  for (const name of ['lists/partial', 'archives/partial', 'root', 'tools']) {
    await mkdir(join(made, name), { recursive: true });
  }
  await download(made);
  for (const name of await readdir(made)) {
    if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(made, name), join(made, 'root')]);
  }
  const root = join(folder, 'root/usr');
  for (const name of await readdir(join(made, 'root/usr/bin'))) {
    const path = join(made, 'tools', name);
    const words = [
      ...[join(root, 'lib64/ld-linux-x86-64.so.2'), '--argv0', name],
      ...['--library-path', join(root, 'lib/x86_64-linux-gnu'), join(root, 'bin', name)],
    ];
    await writeFile(path, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`);
    await chmod(path, 0o755);
  }
  await rename(made, folder);
  return tools;
};

/** From where this machine has its own packages, with lists of its own. */
const download = async (folder: string): Promise<void> => {
  const words = ['indextargets', '--format', '$(REPO_URI)', 'Component: main', 'Label: Debian'];
  const [uri] = (await run('apt-get', words)).stdout.split('\n');
  if (uri === undefined || uri === '') throw new Error('apt knows no source: apt-get update');
  const list = join(folder, 'sources.list');
  await writeFile(list, `deb [signed-by=${keyring}] ${uri} ${release} main\n`);
  const options = [
    `Dir::Etc::sourcelist=${list}`,
    'Dir::Etc::sourceparts=/nonexistent',
    `Dir::State::lists=${join(folder, 'lists')}`,
    `Dir::Cache=${folder}`,
    'Dir::State::status=/dev/null',
    'Acquire::Retries=3',
    // Into a folder that only its owner may enter.
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  await run('apt-get', [...options, '-q', 'update'], { cwd: folder });
  await run('apt-get', [...options, '-q', 'download', ...packages], { cwd: folder });
};
