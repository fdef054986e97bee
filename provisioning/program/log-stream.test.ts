import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LogStream } from './log-stream.js';
import { createLogger } from './logger.js';

/** A pipe that does not block at either end, as a shell or a supervisor may hand one over. */
const pipe = (t: Test) => {
  const path = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  t.teardown(() => closeSync(writer));
  const read = (): string => {
    const buffer = Buffer.alloc(1024 * 1024);
    try {
      return buffer.toString('utf8', 0, readSync(reader, buffer));
    } catch {
      return '';
    }
  };
  return { reader, writer, read };
};

t.test('writes every line, in order', async (t) => {
  const path = join(t.testdir({ log: '' }), 'log');
  const fd = openSync(path, 'a');
  t.teardown(() => closeSync(fd));
  const stream = new LogStream({ fd });
  const lines = Array.from({ length: 1_000 }, (_, i) => `${i}\n`);
  for (const line of lines) stream.write(line);
  await stream.flush();
  t.equal(readFileSync(path, 'utf8'), lines.join(''));
  stream.write('last\n');
  stream.writeLastWords();
  await stream.flush();
  t.match(readFileSync(path, 'utf8'), /999\nlast\n$/);
});

t.test('a reader that stalls keeps nobody, and hears how much it has missed', async (t) => {
  const { reader, writer, read } = pipe(t);
  t.teardown(() => closeSync(reader));
  const stream = new LogStream({ fd: writer, mostHeldBytes: 10_000 });
  const line = `${'x'.repeat(999)}\n`;
  // 64 KiB fill the pipe.
  for (let i = 0; i < 100; i += 1) stream.write(line);
  await stream.flush(50);
  for (let i = 0; i < 100; i += 1) stream.write(line);
  await stream.flush(50);
  let text = '';
  while (!text.includes('"dropped"')) {
    text += read();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const dropped = text
    .split('\n')
    .flatMap((part) => (part.startsWith('{') ? [JSON.parse(part)] : []));
  const written = text.split('\n').filter((part) => part === line.trimEnd()).length;
  t.equal(
    dropped.reduce((sum, note) => sum + note.dropped, written),
    200,
  );
});

t.test('a fatal line waits for its turn', async (t) => {
  const { reader, writer, read } = pipe(t);
  t.teardown(() => closeSync(reader));
  const stream = new LogStream({ fd: writer });
  const log = createLogger({ program: 'test', to: stream });
  writeSync(writer, 'x'.repeat(65_536));
  log.info('first');
  await stream.flush(50);
  read();
  log.fatal('second');
  await stream.flush();
  const messages = read().trimEnd().split('\n');
  t.same(
    messages.map((line) => JSON.parse(line).msg),
    ['first', 'second'],
  );
});

t.test('a reader that is gone ends the writing, not the program', async (t) => {
  const { reader, writer } = pipe(t);
  closeSync(reader);
  const stream = new LogStream({ fd: writer });
  stream.write('nobody\n');
  await stream.flush();
  stream.write('hears\n');
  stream.writeLastWords();
  await stream.flush();
  t.pass();
});
