/** The command lines of libgpiod's tools, 1.6's and 2.x's, and what they print. */
import type { Edge, LineAddress } from './gpio-lines.js';

/** The first number of the tools' version. */
export type ToolsVersion = 1 | 2;
export type Command = readonly [tool: string, ...words: string[]];

/** A line as the tools of both generations take it. */
export interface FoundLine extends LineAddress {
  readonly line: number;
}

const flagsOf = ({ activeLow, bias }: LineAddress): string[] => [
  ...(activeLow ? ['--active-low'] : []),
  ...(bias === 'as-is' ? [] : [`--bias=${bias}`]),
];

const levelOf = ({ line }: FoundLine, isOn: boolean): string => `${line}=${isOn ? 1 : 0}`;

/** Holds it so until it ends. */
export const setCommand = (version: ToolsVersion, address: FoundLine, isOn: boolean): Command =>
  version === 1
    ? [
        ...(['gpioset', '--mode=signal'] as const),
        ...flagsOf(address),
        address.chip,
        levelOf(address, isOn),
      ]
    : ['gpioset', ...flagsOf(address), '--chip', address.chip, levelOf(address, isOn)];

/** Sets it and ends at once. */
export const leaveCommand = (version: ToolsVersion, address: FoundLine, isOn: boolean): Command =>
  version === 1
    ? [
        ...(['gpioset', '--mode=exit'] as const),
        ...flagsOf(address),
        address.chip,
        levelOf(address, isOn),
      ]
    : [
        ...(['gpioset', '--toggle', '0'] as const),
        ...flagsOf(address),
        '--chip',
        address.chip,
        levelOf(address, isOn),
      ];

export const getCommand = (version: ToolsVersion, address: FoundLine): Command =>
  version === 1
    ? ['gpioget', ...flagsOf(address), address.chip, String(address.line)]
    : [
        ...(['gpioget', '--numeric'] as const),
        ...flagsOf(address),
        '--chip',
        address.chip,
        String(address.line),
      ];

/** The kernel looks at bounces itself where the tools are new enough to ask for it. */
export const debouncesItself = (version: ToolsVersion): boolean => version === 2;

export const watchCommand = (version: ToolsVersion, address: FoundLine, debounceMs = 0): Command =>
  version === 1
    ? [
        ...(['gpiomon', '--line-buffered', '--format=%e %s %n'] as const),
        ...flagsOf(address),
        address.chip,
        String(address.line),
      ]
    : [
        // Into a pipe it would keep what it says until it is much.
        ...(['stdbuf', '-oL', 'gpiomon', '--format=%e %S'] as const),
        ...flagsOf(address),
        ...(debounceMs > 0 ? ['--debounce-period', `${debounceMs}ms`] : []),
        '--chip',
        address.chip,
        String(address.line),
      ];

const nsPerMs = 1_000_000;
/** Before Linux 5.7 an edge has the time of day, which says nothing here. */
const mostAgoMs = 60_000;

/** A line of `gpiomon`; `nowMs` is the kernel's monotonic clock. Undefined for what says no edge. */
export const parseEdge = (text: string, nowMs: number): Edge | undefined => {
  const found = /^\s*([012])(?: (\d+)[ .](\d+))?\s*$/.exec(text);
  if (found === null) return undefined;
  const [, kind, seconds, nanoseconds] = found;
  const atMs = Number(seconds ?? 0) * 1_000 + Number(nanoseconds ?? 0) / nsPerMs;
  const agoMs = nowMs - atMs;
  // 1: it rose. It fell: 0 of the older tools, 2 of the newer.
  return {
    isOn: kind === '1',
    agoMs: seconds !== undefined && agoMs > 0 && agoMs < mostAgoMs ? agoMs : 0,
  };
};

export interface ChipRow {
  readonly name: string;
  readonly label: string;
}

/** What `gpiodetect` prints. */
export const parseChips = (text: string): ChipRow[] =>
  [...text.matchAll(/^(gpiochip\d+) \[([^\]]*)\]/gm)].map(([, name = '', label = '']) => ({
    name,
    label,
  }));

export const infoCommand = (version: ToolsVersion, chip: string): Command =>
  version === 1 ? ['gpioinfo', chip] : ['gpioinfo', '--chip', chip];

/** The number of a line by what the kernel calls it, in what `gpioinfo` prints. */
export const parseLineNumber = (text: string, name: string): number | undefined => {
  for (const [, number, found] of text.matchAll(/^\s*line\s+(\d+):\s+"([^"]*)"/gm)) {
    if (found === name) return Number(number);
  }
  return undefined;
};
