/** `holdfast --gateway clock`: what the gateway's clock is worth, and saying what time it is where no network does. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import * as v from 'valibot';
import type { CommandContext } from '../context.js';
import type { GatewayClient } from '../gateway-client.js';

const clockAnswer = v.looseObject({
  now: v.number(),
  trusted: v.boolean(),
  source: v.nullable(v.string()),
  doubt: v.nullable(v.string()),
  offset: v.number(),
  floor: v.number(),
  error_ms: v.number(),
});
type ClockAnswer = v.InferOutput<typeof clockAnswer>;

const sources = new Map([
  ['rtc', 'the battery-backed clock'],
  ['ntp', 'NTP'],
  ['signed', 'the control plane'],
  ['operator', 'a person'],
]);
const doubts = new Map([
  ['unset', 'nobody has set it since the machine started'],
  ['below_floor', 'it is before a time that is known to have passed'],
  ['jumped', 'it was set by nobody known while the gateway ran'],
  ['long_off', 'the battery-backed clock says that the gateway was off for over 30 days'],
  ['contradicted', 'the control plane is certified for another time'],
]);

export const addClockCommands = (program: Command, context: () => CommandContext): void => {
  const ask = async (): Promise<GatewayClient> => {
    const { gateway, asksGateway } = context();
    if (asksGateway) return gateway();
    throw new HoldfastError('REQUEST_INVALID', 'only a gateway has a clock to ask for', {
      data: { next: 'holdfast --gateway clock' },
    });
  };
  const set = async (time: number | null): Promise<void> => {
    const answer = await (await ask()).post('/clock', { time });
    show(context(), v.parse(clockAnswer, answer));
  };

  const clock = program
    .command('clock')
    .description('what the clock of the gateway is worth (with --gateway)')
    .action(async () => {
      show(context(), v.parse(clockAnswer, await (await ask()).get('/clock')));
    });

  clock
    .command('confirm')
    .description('the clock of its machine is right: believe it until it restarts')
    .action(() => set(null));

  clock
    .command('set <time>')
    .description('what time it is: as 2026-03-01T14:30:00Z, or "now" for that of this computer')
    .action((text: string) => set(parseTime(text, context().now())));
};

const parseTime = (text: string, now: number): number => {
  const time = text === 'now' ? now : Date.parse(text);
  // Without its zone it would be that of whoever types.
  const isZoned = text === 'now' || /(?:Z|[+-]\d\d:?\d\d)$/i.test(text);
  if (Number.isFinite(time) && isZoned) return time;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${text}" is no time: write it as 2026-03-01T14:30:00Z or 2026-03-01T15:30:00+01:00, or "now"`,
  );
};

const show = ({ terminal }: CommandContext, clock: ClockAnswer): void => {
  const { now, trusted, source, doubt, offset, floor, error_ms } = clock;
  const worth = trusted
    ? terminal.paint('green', `trusted, within ${(error_ms / 1_000).toFixed(1)} s`)
    : terminal.paint('yellow', 'not trusted: nothing expires by it');
  terminal.fields(clock, [
    ['time', new Date(now).toISOString()],
    ['worth', worth],
    ['set by', source === null ? undefined : (sources.get(source) ?? source)],
    ...(doubt === null ? [] : [['because', doubts.get(doubt) ?? doubt] as const]),
    ['machine is off by', `${(-offset / 1_000).toFixed(1)} s`],
    ['not before', new Date(floor).toISOString()],
  ]);
  if (!trusted) {
    terminal.line('  next: connect it to the control plane, or holdfast --gateway clock set now');
  }
};
