/** The C client compiled for the host, for tests: gcc with every warning an error, and with its sanitizers. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file of this folder in the sources, beside which `dist` is. */
export const mcuFile = (name: string): string =>
  fileURLToPath(new URL(`../../mcu/${name}`, import.meta.url));

const strict = [
  ...['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wsign-conversion', '-Wshadow'],
  ...['-Wcast-qual', '-Wstrict-prototypes', '-Wmissing-prototypes', '-Wvla', '-Werror'],
];
const sanitized = ['-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

export const hasCompiler = async (name = 'gcc'): Promise<boolean> =>
  run(name, ['--version']).then(
    () => true,
    () => false,
  );

/** The client alone has to be C99; what stands around it on the host is POSIX. */
export const compileClient = async (
  folder: string,
  program: 'device' | 'framing',
): Promise<string> => {
  const object = join(folder, 'holdfast.o');
  const path = join(folder, program);
  await run('gcc', [
    ...['-std=c99', ...strict, ...sanitized],
    ...['-c', mcuFile('holdfast.c'), '-o', object],
  ]);
  await run('gcc', [
    ...['-std=gnu99', '-Wall', '-Wextra', '-Werror', ...sanitized],
    ...[mcuFile(`host/${program}.c`), object, '-o', path],
  ]);
  return path;
};
