/** The C client compiled for the host, for tests: gcc with every warning an error, and with its sanitizers. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
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

export interface Cabinet {
  /** Intel HEX. */
  readonly image: string;
  /** What it takes of the chip: the program with the first values of its variables, and the variables. */
  readonly flashBytes: number;
  readonly ramBytes: number;
}

/** As the tutorial builds it; what it is kept small with is stated there. */
export const avrFlags = [
  ...['-mmcu=atmega328p', '-DF_CPU=16000000UL', '-std=c99', '-Os', '-mcall-prologues'],
  ...['-fno-inline', '-fno-move-loop-invariants', '-mstrict-X', '-maccumulate-args'],
  ...['-ffunction-sections', '-fdata-sections', '-Wl,--gc-sections,--relax'],
];

/** The example for the ATmega328P. */
export const compileCabinet = async (
  folder: string,
  { device, version, flags = [] }: CabinetOptions,
): Promise<Cabinet> => {
  const program = join(folder, `${device}-${version}.elf`);
  const image = program.replace(/elf$/, 'hex');
  const names = [`-DDEVICE="${device}"`, `-DVERSION="${version}"`];
  const sources = ['holdfast.c', 'examples/cabinet/cabinet.c'].map(mcuFile);
  const warnings = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Werror'];
  await run('avr-gcc', [
    ...[...avrFlags, ...warnings, ...names, ...flags, `-I${mcuFile('.')}`],
    ...[...sources, '-o', program],
  ]);
  await run('avr-objcopy', ['-j', '.text', '-j', '.data', '-O', 'ihex', program, image]);
  // Records that say where it starts are nothing to a boot loader, and simavr's reader complains of them.
  const records = (await readFile(image, 'latin1')).split('\n');
  await writeFile(image, records.filter((line) => !/^:......0[35]/.test(line)).join('\n'));
  const { stdout } = await run('avr-size', [program]);
  const [text = 0, data = 0, bss = 0] = (stdout.split('\n')[1] ?? '')
    .trim()
    .split(/\s+/)
    .map(Number);
  return { image, flashBytes: text + data, ramBytes: data + bss };
};

const arduino = '/usr/share/arduino/hardware/arduino/avr';

/** The sketch as the Arduino IDE reads it, looked at alone; rejects with what is wrong. */
export const checkSketch = async (): Promise<void> => {
  const folders = ['cores/arduino', 'variants/standard', 'libraries/EEPROM/src'];
  await run('avr-g++', [
    ...['-mmcu=atmega328p', '-DF_CPU=16000000L', '-DARDUINO=10819', '-std=gnu++11', '-Os'],
    ...folders.map((folder) => `-I${arduino}/${folder}`),
    ...[`-I${mcuFile('.')}`, '-fsyntax-only', '-include', 'Arduino.h', '-x', 'c++'],
    mcuFile('examples/first/first.ino'),
  ]);
};

export interface CabinetOptions {
  readonly device: string;
  readonly version: string;
  readonly flags?: readonly string[];
}
