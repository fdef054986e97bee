/** Which packages a program needs when it runs, found as Node finds them. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

export interface NeededPackage {
  readonly name: string;
  /** Where it lies, from the top of the repository. */
  readonly path: string;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** Packages that are needed to build another one, and not to run it. */
const buildTools: Readonly<Record<string, readonly string[]>> = {
  sqlite3: ['prebuild-install', 'node-gyp', 'node-addon-api', 'tar'],
  '@serialport/bindings-cpp': ['node-addon-api'],
};

/** Every package below the workspaces named, workspaces left out; each once. */
export const neededPackages = (top: string, workspaces: readonly string[]): NeededPackage[] => {
  const found = new Map<string, NeededPackage>();
  const visit = (folder: string, name: string): void => {
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(folder);
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (dependency.startsWith('@holdfast/') || buildTools[name]?.includes(dependency)) continue;
      const at = resolveFrom(folder, dependency, top);
      if (at === undefined) {
        if (dependency in optionalDependencies) continue;
        throw new Error(`${dependency}, which ${name} needs, is not installed: npm ci`);
      }
      const path = relative(top, at);
      if (found.has(path)) continue;
      found.set(path, { name: dependency, path });
      visit(at, dependency);
    }
  };
  for (const workspace of workspaces) visit(join(top, workspace), workspace);
  return [...found.values()].sort((a, b) => a.path.localeCompare(b.path));
};

const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

const resolveFrom = (folder: string, name: string, top: string): string | undefined => {
  for (let at = folder; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
    if (at === top || at === dirname(at)) return undefined;
  }
};
