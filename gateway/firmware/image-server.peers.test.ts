/** curl is answered as nginx answers it, for the same file. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createPlainServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { sha256Of, silentLog } from './firmware-fixture.js';
import { ImageServer } from './image-server.js';

const image = randomBytes(100_000);
const sha256 = sha256Of(image);
const size = image.length;

const openOurs = async (t: Test, folder: string): Promise<number> => {
  const held = { sha256, path: join(folder, 'image.bin'), sizeBytes: size, arrival: 1 };
  const images = new ImageServer({
    firmware: {
      get: async () => held,
      isNeeded: () => false,
      check: async () => undefined,
    },
    log: silentLog,
  });
  const server = createServer((request, response) => {
    images.serve(request, response, sha256).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
};

const openNginx = async (t: Test, folder: string): Promise<number> => {
  const free = createPlainServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = join(folder, 'nginx.conf');
  await writeFile(
    config,
    `daemon off; user root; worker_processes 1; pid ${folder}/pid; error_log stderr crit;
events {}
http { access_log off; default_type application/octet-stream;
  ${paths.map((path) => `${path}_temp_path ${folder}/${path};`).join(' ')}
  server { listen 127.0.0.1:${port}; root ${folder}; } }
`,
  );
  const nginx = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', config], { stdio: 'ignore' });
  t.teardown(async () => {
    const gone = once(nginx, 'exit');
    nginx.kill('SIGTERM');
    await gone;
  });
  const url = `http://127.0.0.1:${port}/image.bin`;
  const retry = ['--retry', '30', '--retry-connrefused', '--retry-delay', '1'];
  await promisify(execFile)('curl', ['-sf', ...retry, '-o', '/dev/null', url]);
  return port;
};

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

const curl = async (port: number, ...args: readonly string[]): Promise<Answer> => {
  const { stdout } = await promisify(execFile)(
    'curl',
    ['-s', '-i', ...args, `http://127.0.0.1:${port}/image.bin`],
    { encoding: 'buffer', maxBuffer: 2 ** 24 },
  );
  const end = stdout.indexOf('\r\n\r\n');
  const [first = '', ...lines] = stdout.toString('latin1', 0, end).split('\r\n');
  const headers = new Map(
    lines.map((line): [string, string] => {
      const [name = '', ...value] = line.split(': ');
      return [name.toLowerCase(), value.join(': ')];
    }),
  );
  return { status: Number(first.split(' ')[1]), headers, body: stdout.subarray(end + 4) };
};

/** What is the same of the answers of both: all but how they name file, server and boundary. */
const comparable = ({ status, headers, body }: Answer) => {
  const type = headers.get('content-type');
  const [, boundary] = /^multipart\/byteranges; boundary=([0-9a-z]+)$/.exec(type ?? '') ?? [];
  // The text of its refusals is nginx' own.
  if (status >= 400) return { status, range: headers.get('content-range') };
  const text = body.toString('latin1');
  return {
    status,
    range: headers.get('content-range'),
    body: boundary === undefined ? sha256Of(body) : text.split(`--${boundary}`),
    ...(boundary === undefined && { length: headers.get('content-length') }),
  };
};

t.test('ranges are answered to curl as nginx answers them', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'image-peers-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'image.bin'), image);
  const [ours, nginx] = [await openOurs(t, folder), await openNginx(t, folder)];
  const tagOf = async (port: number) => (await curl(port)).headers.get('etag') ?? '';
  const hosts = [
    { port: ours, tag: await tagOf(ours) },
    { port: nginx, tag: await tagOf(nginx) },
  ];
  const rows: readonly (readonly string[])[] = [
    [],
    ['-I'],
    ['-r', '0-9'],
    ['-r', '99990-'],
    ['-r', '-5'],
    ['-r', '-200000'],
    ['-r', '0-'],
    ['-r', '99999-200000'],
    ['-r', '100000-'],
    ['-r', '0-9,20-29'],
    ['-r', '20-29,0-9'],
    ['-r', '0-9,10-19'],
    ['-r', '0-9,5-14'],
    ['-r', '0-9,-5,50000-50000'],
    ['-r', '0-9,100000-'],
    ['-r', '100000-,200000-'],
    ['-r', '0-,0-'],
    ['-r', '0-60000,40000-'],
    ['-r', '-0'],
    ['-H', 'range: lines=0-9'],
    ['-r', '0-9', '-H', 'if-range: "another"'],
    ['-r', '0-9', '-H', 'if-range: @'],
    ['-r', '100000-', '-H', 'if-range: @'],
    ['-H', 'if-none-match: @'],
    ['-H', 'if-none-match: W/@'],
    ['-H', 'if-none-match: "a", @'],
    ['-H', 'if-none-match: *'],
    ['-r', '0-9', '-H', 'if-none-match: @'],
    ['-H', 'if-match: "another"'],
    ['-r', '0-9', '-H', 'if-match: @'],
    ['-r', Array.from({ length: 150 }, (_, i) => `${i * 100}-${i * 100 + 49}`).join()],
  ];
  for (const row of rows) {
    const answers = await Promise.all(
      hosts.map(({ port, tag }) => curl(port, ...row.map((word) => word.replace('@', tag)))),
    );
    const [mine, theirs] = answers.map(comparable);
    t.same(mine, theirs, row.join(' ').slice(0, 60));
  }
  const cut = join(folder, 'cut.bin');
  await writeFile(cut, image.subarray(0, 33_333));
  await promisify(execFile)('curl', ['-sf', '-C', '-', '-o', cut, `http://127.0.0.1:${ours}/`]);
  t.same(await readFile(cut), image, 'curl goes on with what it has');
});
