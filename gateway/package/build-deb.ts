/**
 * Builds the Debian package of the gateway: its programs as they were compiled, the packages they need, Node itself, and the unit. What
 * one needs to develop (sources, maps, tests, other machines' native modules) stays out.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { readConfiguration } from '@holdfast/provisioning/program/configuration';
import { gatewayConfiguration } from '../configuration.js';
import { gatewayUnit, serviceName } from '../service/units.js';
import type { Architecture } from './architecture.js';
import { neededPackages } from './closure.js';
import { commands, exampleSiteFile, installed, wrapper } from './installed.js';
import { postinst, postrm, prerm } from './maintainer-scripts.js';
import { nativeModule, nativeModules } from './native-module.js';
import { fetchNode } from './node-binary.js';

export interface BuildOptions {
  readonly architecture: Architecture;
  /** Top of the repository, compiled and installed. */
  readonly top: string;
  /** What is fetched and compiled is kept here. */
  readonly cache: string;
  readonly out: string;
  readonly version: string;
  /** xz packs to half of gzip, and takes a minute. */
  readonly compression: 'xz' | 'gzip';
}

export interface BuiltPackage {
  readonly path: string;
  readonly sizeBytes: number;
  readonly installedBytes: number;
}

/** What of the repository the gateway is made of. */
const workspaces = ['protos', 'provisioning', 'devices', 'gateway'] as const;

export const buildDeb = (options: BuildOptions): BuiltPackage => {
  const { architecture, top, cache, out, version, compression } = options;
  const stage = join(out, `stage-${architecture.deb}`);
  rmSync(stage, { recursive: true, force: true });
  const root = (path: string): string => join(stage, path);
  const put = (path: string, text: string, mode = 0o644): void => {
    mkdirSync(dirname(root(path)), { recursive: true });
    writeFileSync(root(path), text, { mode });
    chmodSync(root(path), mode);
  };
  const lib = root(installed.lib);
  const nodeFolder = fetchNode(architecture, cache);
  mkdirSync(join(lib, 'bin'), { recursive: true });
  copyFileSync(join(nodeFolder, 'bin/node'), join(lib, 'bin/node'));
  chmodSync(join(lib, 'bin/node'), 0o755);
  for (const workspace of workspaces) copyWorkspace(join(top, workspace), join(lib, workspace));
  for (const { path } of neededPackages(top, workspaces)) copyPackage(top, path, lib, architecture);
  linkWorkspaces(lib);
  for (const [name, file] of Object.entries(nativeModules)) {
    const to = join(lib, 'node_modules', name, file);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(nativeModule(name, architecture, { top, nodeFolder, cache }), to);
  }

  for (const [name, script] of Object.entries(commands))
    put(`/usr/bin/${name}`, wrapper(script), 0o755);
  put(`/lib/systemd/system/${serviceName}`, packagedUnit());
  put(`${installed.share}/site.example.yaml`, exampleSiteFile);
  put(
    `${installed.share}/site.schema.json`,
    readFileSync(join(top, 'gateway/site.schema.json'), 'utf8'),
  );
  put('/usr/share/doc/holdfast-gateway/copyright', copyright(top, nodeFolder));
  const installedBytes = sizeOf(stage);
  put('/DEBIAN/control', control({ architecture: architecture.deb, version, installedBytes }));
  for (const [name, script] of Object.entries({ postinst, prerm, postrm }))
    put(`/DEBIAN/${name}`, script, 0o755);
  const path = join(out, `holdfast-gateway_${version}_${architecture.deb}.deb`);
  execFileSync(
    'dpkg-deb',
    [
      '--root-owner-group',
      `-Z${compression}`,
      ...(compression === 'gzip' ? ['-z1'] : ['-z6']),
      '--build',
      stage,
      path,
    ],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  rmSync(stage, { recursive: true });
  return { path, sizeBytes: statSync(path).size, installedBytes };
};

const packagedUnit = (): string =>
  gatewayUnit({
    configuration: readConfiguration(gatewayConfiguration, { name: '', text: '' }),
    command: ['/usr/bin/holdfast-gateway', 'run'],
    dataDir: installed.dataDir,
    user: installed.user,
  });

/** Parts of a workspace that serve its tests and its building alone. */
const leftOut = /^(faults|powercut|package|quickstart|simulator|mcu|testing)$|^bench$/;

const copyWorkspace = (from: string, to: string): void => {
  mkdirSync(to, { recursive: true });
  for (const part of ['package.json', 'bin', 'dist'].filter((name) =>
    existsSync(join(from, name)),
  )) {
    cpSync(join(from, part), join(to, part), {
      recursive: true,
      filter: (path) => {
        if (statSync(path).isDirectory())
          return !leftOut.test(basename(path)) || relative(from, path) === part;
        if (path.endsWith('.json')) return true;
        return path.endsWith('.js') && !/\.test\.js$|\/test-[^/]*\.js$|-fixture\.js$/.test(path);
      },
    });
  }
};

const copyPackage = (top: string, path: string, lib: string, { node }: Architecture): void => {
  const from = join(top, path);
  cpSync(from, join(lib, path), {
    recursive: true,
    dereference: true,
    filter: (file) => {
      const within = relative(from, file);
      if (within === '') return true;
      // Those of its own it has in a list of their own.
      if (/(^|\/)node_modules$/.test(within)) return false;
      if (/\.(map|d\.[cm]?ts|[cm]?ts|md|markdown)$/i.test(within)) return false;
      if (/(^|\/)(test|tests|__tests__|docs|examples?|\.github)$/.test(within)) return false;
      if (Object.hasOwn(nativeModules, path.replace(/^node_modules\//, ''))) {
        return !/^(build|deps|src|binding\.gyp)(\/|$)/.test(within);
      }
      // Bundles for browsers.
      if (/^dist\/.*(\.min|\.esm|browser)/.test(within)) return false;
      const prebuilt = /^prebuilds\/([^/]+)/.exec(within)?.[1];
      if (prebuilt !== undefined && prebuilt !== `linux-${node}`) return false;
      return !within.endsWith('.musl.node');
    },
  });
};

const linkWorkspaces = (lib: string): void => {
  mkdirSync(join(lib, 'node_modules/@holdfast'), { recursive: true });
  for (const workspace of workspaces) {
    symlinkSync(`../../${workspace}`, join(lib, 'node_modules/@holdfast', workspace));
  }
};

const control = ({
  architecture,
  version,
  installedBytes,
}: {
  architecture: string;
  version: string;
  installedBytes: number;
}): string =>
  `${[
    'Package: holdfast-gateway',
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    'Maintainer: The Holdfast authors <holdfast@localhost>',
    `Installed-Size: ${Math.ceil(installedBytes / 1024)}`,
    // What Node is linked against, and what the maintainer scripts call.
    'Depends: libc6 (>= 2.28), libstdc++6 (>= 9), libgcc-s1, passwd, init-system-helpers (>= 1.60)',
    'Recommends: systemd, ca-certificates',
    // For gpio.lines.
    'Suggests: gpiod',
    'Section: net',
    'Priority: optional',
    'Description: gateway of a site: keeps devices served, updated and trusted without a network',
    ' A local MQTT broker, a shadow of every device, a firmware cache and a small',
    ' certificate authority for the devices of a site, whether its network is up or',
    ' not. It carries the Node.js that it runs on.',
  ].join('\n')}\n`;

const copyright = (top: string, nodeFolder: string): string =>
  [
    'Holdfast',
    readFileSync(join(top, 'LICENSE'), 'utf8'),
    `Node.js and what it holds (${installed.lib}/bin/node)`,
    readFileSync(join(nodeFolder, 'LICENSE'), 'utf8'),
    `The packages below ${installed.lib}/node_modules hold their licences themselves.`,
    '',
  ].join('\n\n');

const sizeOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).reduce(
    (sum, entry) =>
      sum + (entry.isFile() ? statSync(join(entry.parentPath ?? entry.path, entry.name)).size : 0),
    0,
  );
