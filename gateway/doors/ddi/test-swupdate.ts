/** Debian's SWUpdate for tests: update files made as its users make them, and devices that are a process and a file. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A key of whoever signs releases, and the certificate that devices know it by; both are file names. */
export interface ReleaseKey {
  readonly key: string;
  readonly certificate: string;
}

export const makeReleaseKey = async (folder: string, name: string): Promise<ReleaseKey> => {
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', `/CN=${name}`],
    ...['-addext', 'extendedKeyUsage=emailProtection', '-keyout', key, '-out', certificate],
  ]);
  return { key, certificate };
};

export interface SwuParts {
  readonly version: string;
  /** Revisions of the board that it is for. */
  readonly hardware: string;
  /** What stands in `images` of its sw-description besides the name and the digest. */
  readonly image: string;
  readonly fileName: string;
  readonly file: Uint8Array;
  readonly signedBy: ReleaseKey;
}

/** An update file: `cpio -H crc` of its description, the CMS signature of that, and the images. */
export const makeSwu = async (
  folder: string,
  { version, hardware, image, fileName, file, signedBy }: SwuParts,
): Promise<Buffer> => {
  await mkdir(folder, { recursive: true });
  const sha256 = createHash('sha256').update(file).digest('hex');
  await writeFile(
    join(folder, 'sw-description'),
    `software = {\n  version = "${version}";\n  hardware-compatibility: [ "${hardware}" ];\n  images: ( { filename = "${fileName}"; sha256 = "${sha256}"; ${image} } );\n}\n`,
  );
  await writeFile(join(folder, fileName), file);
  await run(
    'openssl',
    [
      ...['cms', '-sign', '-binary', '-nosmimecap', '-outform', 'DER', '-in', 'sw-description'],
      ...['-signer', signedBy.certificate, '-inkey', signedBy.key, '-out', 'sw-description.sig'],
    ],
    { cwd: folder },
  );
  const names = ['sw-description', 'sw-description.sig', fileName];
  const cpio = spawn('cpio', ['-o', '-H', 'crc', '--quiet', '-F', 'update.swu'], {
    cwd: folder,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  cpio.stdin.end(`${names.join('\n')}\n`);
  const [code] = await once(cpio, 'exit');
  if (code !== 0) throw new Error(`cpio ended with ${code}`);
  return readFile(join(folder, 'update.swu'));
};

export interface SwupdateOptions {
  readonly folder: string;
  /** Without what it tells of itself. */
  readonly configuration: string;
  readonly identity?: Readonly<Record<string, string>>;
  readonly key: ReleaseKey;
  /** How long it sleeps, whatever the gateway says; it asks as often while it loads. */
  readonly pollS: number;
}

export interface SwupdateStart {
  /** It came up with what was installed before, or did not. */
  readonly confirm?: 2 | 3;
  /** Further arguments. */
  readonly more?: readonly string[];
}

/** SWUpdate on one device; each start is another process, as after a restart of the device. */
export class Swupdate {
  readonly #options: SwupdateOptions;
  #process: ChildProcess | undefined;
  #started: SwupdateStart = {};
  #output = '';

  constructor(options: SwupdateOptions) {
    this.#options = options;
  }

  /** What it has said, for a test that fails. */
  get output(): string {
    return this.#output;
  }

  async start(how: SwupdateStart = {}): Promise<void> {
    this.#started = how;
    const { confirm, more = [] } = how;
    const { folder, configuration, identity = {}, key, pollS } = this.#options;
    const temporary = join(folder, 'tmp');
    await mkdir(temporary, { recursive: true });
    const settings = join(folder, 'swupdate.cfg');
    const told = Object.entries(identity).map(
      ([name, value]) => `  { name = "${name}"; value = "${value}"; }`,
    );
    await writeFile(settings, `${configuration}identify : (\n${told.join(',\n')}\n);\n`);
    const child = spawn(
      'swupdate',
      [
        ...['-f', settings, '-H', 'rpi4:1.0', '-k', key.certificate, '-e', 'stable,main', ...more],
        ...['-u', `-p ${pollS} -r 5 -w 1${confirm === undefined ? '' : ` -c ${confirm}`}`],
      ],
      // It has children of its own, and does not always end them.
      { env: { ...process.env, TMPDIR: temporary }, detached: true, stdio: 'pipe' },
    );
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
    this.#process = child;
  }

  /** As it was started last. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start(this.#started);
  }

  /** As a power cut ends it. Idempotent. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child?.pid === undefined) return;
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    const ended = hasEnded ? Promise.resolve() : once(child, 'exit');
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // None of its processes is left.
    }
    await ended;
  }
}
