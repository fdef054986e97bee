/**
 * Native modules that node-gyp builds. For this machine's processor they are there since the installation; for the other one they are
 * compiled with Debian's cross compiler, since what can be downloaded of them cannot be relied on. All are Node-API, so that any Node
 * from 18 on runs them.
 */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Architecture, nodeVersion } from './architecture.js';

/** Where each has its module. */
export const nativeModules: Readonly<Record<string, string>> = {
  pkcs11js: 'build/Release/pkcs11.node',
  sqlite3: 'build/Release/node_sqlite3.node',
};

export interface NativeOptions {
  readonly top: string;
  /** Holds `include/node` of the target's Node. */
  readonly nodeFolder: string;
  readonly cache: string;
}

/** Gives the path of the module. */
export const nativeModule = (
  name: string,
  { node, deb, triplet }: Architecture,
  { top, nodeFolder, cache }: NativeOptions,
): string => {
  const source = join(top, 'node_modules', name);
  const built = nativeModules[name] ?? '';
  if (process.arch === node) return join(source, built);
  const folder = join(cache, `${name}-${versionOf(source)}-${deb}-node-${nodeVersion}`);
  if (existsSync(join(folder, 'done'))) return join(folder, built);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(source, folder, {
    recursive: true,
    filter: (path) => path !== join(source, 'build'),
  });
  // What it is built with lies there.
  symlinkSync(join(top, 'node_modules'), join(folder, 'node_modules'));
  const gyp = [nodeGyp(), 'rebuild', `--arch=${node}`, `--nodedir=${nodeFolder}`];
  execFileSync(process.execPath, gyp, {
    cwd: folder,
    // It tells at length of success, too.
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      CC: compiler(`${triplet}-gcc`),
      CXX: compiler(`${triplet}-g++`),
      AR: `${triplet}-ar`,
      LINK: `${triplet}-g++`,
    },
    maxBuffer: 64 * 1024 * 1024,
  });
  writeFileSync(join(folder, 'done'), '');
  return join(folder, built);
};

const versionOf = (folder: string): string =>
  (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version;

/** The one that npm itself builds with. */
const nodeGyp = (): string => {
  const npm = realpathSync(execFileSync('which', ['npm'], { encoding: 'utf8' }).trim());
  return join(dirname(dirname(npm)), 'node_modules/node-gyp/bin/node-gyp.js');
};

const compiler = (name: string): string => {
  try {
    execFileSync('which', ['ccache'], { stdio: 'ignore' });
    return `ccache ${name}`;
  } catch {
    return name;
  }
};
