/** What a line's `flash` says in a configuration, and which of its combinations are refused since they can strand a board. */

import type { LoaderProtocolName } from '@holdfast/provisioning/firmware/flash/part';
import { avrParts, noSuchPart } from '@holdfast/provisioning/firmware/flash/parts';
import * as v from 'valibot';

export type ResetName = 'dtr' | 'rts' | 'gpio' | 'command';
/** The loaders that speak STK500v1 differ in what starts them, and can't be told apart before one answers. */
export type Stk500v1Loader = 'optiboot' | 'atmegaboot';

export interface FlashWay {
  readonly protocol: LoaderProtocolName;
  readonly reset: ResetName;
  readonly part?: string;
  readonly loader?: Stk500v1Loader;
  readonly resetLine?: string;
}

/** Why a board that is flashed this way could be out of reach after a power cut; null where it can't. Measured: README.md. */
export const refusalOf = ({
  protocol,
  reset,
  part = '',
  loader,
  resetLine,
}: FlashWay): string | null => {
  if (loader !== undefined && protocol !== 'stk500v1') {
    return `"loader" tells the loaders of stk500v1 apart; ${protocol} has none`;
  }
  if (reset === 'gpio' && resetLine === undefined) {
    return 'Reset "gpio" needs "resetLine", the name of a line of gpio.lines with the role reset';
  }
  if (reset !== 'gpio' && resetLine !== undefined) {
    return `"resetLine" belongs to reset "gpio", and the reset is "${reset}"`;
  }
  if (reset !== 'command' || protocol !== 'stk500v1') return null;
  const cut = 'after a flash that was cut there is no application that could go to it';
  const next = 'Wire a reset line (dtr, rts or gpio)';
  if (loader === 'atmegaboot') {
    // The builds for the Pro, which can't be told from the others (WATCHDOG_MODS in its Makefile).
    if (!part.toLowerCase().startsWith('atmega168')) return null;
    const some = 'some ATmegaBOOTs for the ATmega168 start the application after every reset';
    return `${some} but an external one, and ${cut}. ${next}`;
  }
  const first = 'Optiboot starts the application after every reset but an external one';
  const older = ', or say "loader: atmegaboot" if the older Arduino loader stands there';
  return `${first}, and ${cut}. ${next}${loader === undefined ? older : ''}`;
};

const partName = v.pipe(v.string(), v.minLength(1), v.maxLength(64));

/** `flash` of a line in site.yaml and of `attached` in the agent's configuration. */
export const flashSettings = v.pipe(
  v.strictObject({
    protocol: v.pipe(
      v.picklist(['stk500v1', 'stk500v2', 'mcuboot-smp']),
      v.description('What the boot loader speaks.'),
    ),
    part: v.pipe(
      partName,
      v.description('The microcontroller, as avrdude names it; behind MCUboot any name.'),
    ),
    loader: v.pipe(
      v.exactOptional(v.picklist(['optiboot', 'atmegaboot'])),
      v.description('Which loader speaks stk500v1; needed for the reset "command".'),
    ),
    baudRate: v.pipe(
      v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(300), v.maxValue(4_000_000))),
      v.description("Of the boot loader; the line's without it."),
    ),
    reset: v.pipe(
      v.picklist(['dtr', 'rts', 'gpio', 'command']),
      v.description('How the board is brought to its boot loader.'),
    ),
    resetLine: v.pipe(
      v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
      v.description('Of reset "gpio": the name of a line with the role reset.'),
    ),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { protocol, part } = dataset.value;
    const refusal = refusalOf(dataset.value);
    if (refusal !== null) addIssue({ message: refusal });
    if (protocol === 'mcuboot-smp') return;
    if (!avrParts.some((candidate) => candidate.name === part.toLowerCase())) {
      addIssue({ message: noSuchPart(part) });
    }
  }),
);

export type FlashSettings = v.InferOutput<typeof flashSettings>;
