/** `holdfast campaign watch`: a campaign as it goes on, drawn over itself on a terminal, a line a change elsewhere. */
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import type { Campaign } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { CommandContext } from '../../context.js';
import type { Terminal } from '../../terminal.js';
import { overOf, phaseStateOf, progressOf, rowOf, stateOf } from './campaign-rows.js';
import { progressBar } from './progress-bar.js';

export const watchCampaign = async (
  { terminal, cloud, signal }: CommandContext,
  id: string,
): Promise<void> => {
  const client = await cloud();
  const call = client.campaigns.watchCampaign({ name: `campaigns/${id}` }, client.metadata);
  const stop = () => call.cancel();
  signal.addEventListener('abort', stop, { once: true });
  const show = terminal.isInteractive ? drawing(terminal) : telling(terminal);
  try {
    for await (const now of call) show(now as Campaign);
  } catch (error) {
    if (!signal.aborted) throw fromServiceError(error as never, call.getPeer());
  } finally {
    signal.removeEventListener('abort', stop);
  }
};

/** A line when anything that it says has changed. */
const telling = (terminal: Terminal) => {
  let before = '';
  return (campaign: Campaign): void => {
    terminal.json(rowOf(campaign));
    const { progress } = campaign;
    const text = `${progressBar({ paint: (_, mark) => mark }, progress, 24)} ${stateOf(campaign)} · ${progressOf(campaign)}${gateOf(campaign)}`;
    if (text !== before) terminal.line(text);
    before = text;
  };
};

/** A few lines, over the ones before: one a phase, and one of all. */
const drawing = (terminal: Terminal) => {
  let drawn = 0;
  return (campaign: Campaign): void => {
    const lines = linesOf(terminal, campaign);
    // Back to the first of them, and away with what stands there.
    const back = drawn === 0 ? '' : `\u001b[${drawn}F\u001b[J`;
    terminal.error.write(`${back}${lines.join('\n')}\n`);
    drawn = lines.length;
  };
};

const linesOf = (terminal: Terminal, campaign: Campaign): string[] => {
  const width = 24;
  // What is painted takes no place; a line that wraps cannot be drawn over.
  const line = (bar: string, text: string) =>
    `${bar} ${terminal.fit(`${' '.repeat(width + 1)}${text}`).slice(width + 1)}`;
  const phases = campaign.phases.length < 2 ? [] : campaign.phases;
  return [
    ...phases.map((phase) => {
      const waits = phase.waitsFor === '' ? '' : ` · waits for ${phase.waitsFor}`;
      const done = `${overOf(phase.progress)}/${phase.progress?.total ?? 0n}`;
      return line(
        progressBar(terminal, phase.progress, width),
        `phase ${phase.number} to ${phase.percent} % · ${phaseStateOf(phase)} · ${done}${waits}`,
      );
    }),
    line(
      progressBar(terminal, campaign.progress, width),
      `${stateOf(campaign)} · ${progressOf(campaign)}${pauseOf(campaign)}`,
    ),
  ];
};

const pauseOf = ({ pausedBy, pauseReason }: Campaign): string =>
  pausedBy === '' ? '' : ` · paused by ${pausedBy}${pauseReason === '' ? '' : `: ${pauseReason}`}`;

/** The first gate that is shut. */
const gateOf = (campaign: Campaign): string => {
  const waiting = campaign.phases.find(({ waitsFor }) => waitsFor !== '');
  const waits =
    waiting === undefined ? '' : ` · phase ${waiting.number} waits for ${waiting.waitsFor}`;
  return `${pauseOf(campaign)}${waits}`;
};
