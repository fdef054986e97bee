/** What passes on a serial line as it passes, for people as text or bytes, for programs a JSON value a line. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { serialMonitorLine } from '@holdfast/protos/local/serial';
import * as v from 'valibot';
import type { CommandContext } from '../../context.js';
import type { GatewayClient } from '../../gateway-client.js';
import { type MonitorView, PassageText } from './passage-text.js';

export interface MonitorOptions {
  readonly direction?: string;
  readonly text?: boolean;
  readonly hex?: boolean;
}

const unendedMs = 300;

export const monitorLine = async (
  { terminal, signal }: Pick<CommandContext, 'terminal' | 'signal'>,
  gateway: Pick<GatewayClient, 'lines'>,
  line: string,
  { direction, text = false, hex = false }: MonitorOptions,
): Promise<void> => {
  if (direction !== undefined && direction !== 'in' && direction !== 'out') {
    throw new HoldfastError('REQUEST_INVALID', '--direction is in or out');
  }
  if (text && hex) throw new HoldfastError('REQUEST_INVALID', 'it is either --text or --hex');
  const view: MonitorView = text ? 'text' : hex ? 'hex' : 'either';
  const passages = new PassageText({ view });
  const path = `/serial/lines/${encodeURIComponent(line)}/monitor`;
  const say = (words: string): void => {
    if (!terminal.isJson) terminal.error.write(`${terminal.paint('dim', words)}\n`);
  };
  const show = (lines: readonly string[]): void => {
    for (const one of lines) terminal.line(one);
  };
  // What has no end of line, as a prompt, is shown too, if a little later.
  let patience: NodeJS.Timeout | undefined;
  const query = direction === undefined ? '' : `?direction=${direction}`;
  try {
    for await (const told of gateway.lines(`${path}${query}`, signal)) {
      const one = v.parse(serialMonitorLine, told);
      if (!('alive' in one)) terminal.json(one);
      if ('data' in one) {
        show(passages.add(one.direction, Buffer.from(one.data, 'base64'), one.at));
        clearTimeout(patience);
        patience = setTimeout(() => show(passages.rest()), unendedMs);
      } else if ('alive' in one) show(passages.rest());
      else {
        show(passages.rest());
        if ('monitoring' in one) {
          const { line: name, state } = one.monitoring;
          say(`${name} is ${state}; ← what comes in, → what goes out; Ctrl-C ends this`);
        } else if ('missed' in one) {
          const { bytes_in, bytes_out } = one.missed;
          const lost = `! ${bytes_in} bytes in and ${bytes_out} out passed unseen: this end is too slow`;
          terminal.line(terminal.paint('yellow', lost));
        } else say(`the line is ${one.state}${one.reason === null ? '' : `: ${one.reason}`}`);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearTimeout(patience);
  }
  show(passages.rest());
  if (!signal.aborted) say('the gateway ended it');
};
