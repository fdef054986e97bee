import t from 'tap';
import * as v from 'valibot';
import { flashSettings, refusalOf } from './flash-settings.js';

const issues = (settings: unknown): readonly string[] =>
  v.safeParse(flashSettings, settings).issues?.map(({ message }) => message) ?? [];

t.test('takes every way that leads back to a board after a power cut', async (t) => {
  const uno = { protocol: 'stk500v1', part: 'atmega328p' };
  t.same(issues({ ...uno, reset: 'dtr' }), []);
  t.same(issues({ ...uno, reset: 'rts', baudRate: 57_600 }), []);
  t.same(issues({ ...uno, reset: 'gpio', resetLine: 'reset-pump' }), []);
  t.same(issues({ ...uno, reset: 'command', loader: 'atmegaboot' }), []);
  t.same(issues({ protocol: 'stk500v2', part: 'ATmega2560', reset: 'command' }), []);
  t.same(issues({ protocol: 'mcuboot-smp', part: 'anything', reset: 'command' }), []);
});

t.test('refuses a way that can strand a board, with what to do instead', async (t) => {
  const command = { protocol: 'stk500v1', reset: 'command' } as const;
  t.match(refusalOf({ ...command, loader: 'optiboot' }), /Optiboot starts .* Wire a reset line/);
  t.match(refusalOf(command), /say "loader: atmegaboot"/);
  t.match(issues({ ...command, part: 'atmega328p' }), [/Optiboot/]);
  const pro = { ...command, loader: 'atmegaboot', part: 'ATmega168' };
  t.match(issues(pro), [/some ATmegaBOOTs for the ATmega168/]);
});

t.test('refuses what does not belong together', async (t) => {
  const uno = { protocol: 'stk500v1', part: 'atmega328p' };
  t.match(issues({ ...uno, reset: 'gpio' }), [/resetLine/]);
  t.match(issues({ ...uno, reset: 'dtr', resetLine: 'reset-pump' }), [/belongs to reset "gpio"/]);
  t.match(issues({ ...uno, part: 'attiny85', reset: 'dtr' }), [
    /No part is called .*; known: atmega8, /,
  ]);
  t.match(issues({ ...uno, part: 'm328p', reset: 'dtr' }), [/do you mean "atmega328p"\?/]);
  const mega = { protocol: 'stk500v2', part: 'atmega2560', reset: 'dtr' };
  t.match(issues({ ...mega, loader: 'optiboot' }), [/tells the loaders of stk500v1 apart/]);
  t.equal(issues({ ...uno, reset: 'dtr', colour: 'blue' }).length, 1);
});
