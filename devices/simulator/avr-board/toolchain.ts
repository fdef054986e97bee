/**
 * What a simulated board is made of, compiled into a folder: the board itself (simavr), the real boot loaders of Debian's
 * arduino-core-avr, and applications. Needs gcc, libsimavr-dev, libelf-dev, gcc-avr, avr-libc, arduino-core-avr.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const source = (name: string): string =>
  fileURLToPath(new URL(`../../../simulator/avr-board/${name}`, import.meta.url));
const arduino = '/usr/share/arduino/hardware/arduino/avr/bootloaders';

export type AvrBoardName = keyof typeof avrBoards;

/** Boards by the loader on them; `loaderStart` is a byte address. */
export const avrBoards = {
  /** Arduino Uno: built from Debian's source, since the package's own file is broken (532 bytes where 512 fit). */
  optiboot: {
    protocol: 'stk500v1',
    part: 'atmega328p',
    baudRate: 115_200,
    loaderStart: 0x7e00,
    loaderFile: null,
  },
  /** Arduino Duemilanove and Nano. */
  atmegaboot: {
    protocol: 'stk500v1',
    part: 'atmega328p',
    baudRate: 57_600,
    loaderStart: 0x7800,
    loaderFile: `${arduino}/atmega/ATmegaBOOT_168_atmega328.hex`,
  },
  /** Arduino Mega 2560. */
  stk500boot: {
    protocol: 'stk500v2',
    part: 'atmega2560',
    baudRate: 115_200,
    loaderStart: 0x3e000,
    loaderFile: `${arduino}/stk500v2/stk500boot_v2_mega2560.hex`,
  },
} as const;

/** Compiles the board's program; its path. */
export const compileAvrBoard = async (folder: string): Promise<string> => {
  const program = join(folder, 'avr-board');
  const sources = ['avr-board.c', 'board-flash.c', 'board-line.c'].map(source);
  const flags = ['-std=gnu11', '-O2', '-I/usr/include/simavr'];
  await run('gcc', [...flags, ...sources, '-o', program, '-lsimavr', '-lelf']);
  return program;
};

/** The loader as Intel HEX; its path. */
export const loaderFile = async (folder: string, board: AvrBoardName): Promise<string> => {
  const { loaderFile, part, loaderStart } = avrBoards[board];
  if (loaderFile !== null) {
    const file = join(folder, basename(loaderFile));
    await writeFile(file, withoutStartAddress(await readFile(loaderFile, 'latin1')));
    return file;
  }
  // As its Makefile has it for the Uno, but for the flashes of a LED that nobody sees: without them it fits.
  const flags = ['-fno-inline-small-functions', '-fno-split-wide-types', '-w'];
  const defines = ['-DF_CPU=16000000L', '-DBAUD_RATE=115200', '-DLED_START_FLASHES=0'];
  const sections = [`.text=0x${loaderStart.toString(16)}`, '.version=0x7ffe'].map(
    (section) => `-Wl,--section-start=${section}`,
  );
  const link = ['-nostartfiles', '-nostdlib', '-Wl,--relax', '-Wl,--gc-sections', ...sections];
  const program = join(folder, 'optiboot.elf');
  const file = `${arduino}/optiboot/optiboot.c`;
  await run('avr-gcc', [
    `-mmcu=${part}`,
    '-Os',
    ...flags,
    ...defines,
    ...link,
    '-o',
    program,
    file,
  ]);
  return intelHexOf(program);
};

export interface AvrApplication {
  readonly board: AvrBoardName;
  readonly device: string;
  readonly version: string;
  /** About how large the image gets; as large as it must be without. */
  readonly bytes?: number;
}

/** Compiles `application.c`; the path of its Intel HEX. The same arguments give the same bytes. */
export const compileApplication = async (
  folder: string,
  { board, device, version, bytes = 0 }: AvrApplication,
): Promise<string> => {
  const { part, baudRate, loaderStart } = avrBoards[board];
  const base = join(folder, `${board}-${device}-${version}`);
  const filler = bytes > codeBytes ? fillerOf(version, bytes - codeBytes) : Buffer.from([0]);
  await writeFile(`${base}.filler`, filler);
  const defines = {
    F_CPU: '16000000L',
    BAUD: `${baudRate}L`,
    LOADER_START: `${loaderStart}L`,
    DEVICE: device,
    VERSION: version,
    FILLER: `${base}.filler`,
  };
  const flags = Object.entries(defines).map(([name, value]) => `-D${name}=${value}`);
  const program = `${base}.elf`;
  await run('avr-gcc', [`-mmcu=${part}`, '-Os', ...flags, source('application.c'), '-o', program]);
  return intelHexOf(program);
};

/** What the application takes without its filler. */
const codeBytes = 700;

/** Bytes that look like code: nothing of it is erased flash, and no two versions are alike. */
const fillerOf = (version: string, bytes: number): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, index) =>
    createHash('sha256').update(`${version} ${index}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
};

/** Every section that goes to flash, Optiboot's version at its very end among them. */
export const intelHexOf = async (program: string): Promise<string> => {
  const file = program.replace(/\.elf$/, '.hex');
  const version = ['-j', '.version', '--set-section-flags', '.version=alloc,load'];
  await run('avr-objcopy', ['-j', '.text', '-j', '.data', ...version, '-O', 'ihex', program, file]);
  await writeFile(file, withoutStartAddress(await readFile(file, 'latin1')));
  return file;
};

/** simavr's reader complains of the records that say where a program starts. */
const withoutStartAddress = (intelHex: string): string =>
  intelHex
    .split('\n')
    .filter((line) => !/^:......0[35]/.test(line))
    .join('\n');
