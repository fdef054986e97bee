/** `holdfast --gateway device flash`: a person in front of a board has it flashed, with a release that the cache holds and the plan trusts. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type LineFlashRow, type SerialLineRow, serialAnswer } from '@holdfast/protos/local/serial';
import type { Command } from 'commander';
import * as v from 'valibot';
import { wait } from '../../time/wait.js';
import type { CommandContext } from '../context.js';
import { deviceAtGateway } from '../device-name.js';
import type { GatewayClient } from '../gateway-client.js';
import { progressText } from './serial/line-text.js';

interface FlashOptions {
  readonly site?: string;
  readonly version?: string;
}

const begunAnswer = v.object({
  device: v.string(),
  model: v.string(),
  version: v.string(),
  sha256: v.string(),
});

const lookAgainMs = 500;

export const addFlashCommand = (device: Command, context: () => CommandContext): void => {
  device
    .command('flash <device>')
    .description('flash a microcontroller on a line of the gateway, at the site, WAN or not')
    .option('--version <version>', 'a release that is here and trusted (default: what ran last)')
    .option('--site <id>', 'the site of the device')
    .action((id: string, options: FlashOptions) => flashDevice(context(), id, options));
};

/** Resolves when the application said hello. Errors: RESOURCE_CONFLICT with what went wrong. */
export const flashDevice = async (
  { terminal, asksGateway, gateway, signal }: CommandContext,
  id: string,
  { site, version }: FlashOptions,
): Promise<void> => {
  if (!asksGateway) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'a board is flashed by the gateway that it hangs on',
      {
        data: { next: `holdfast --gateway device flash ${id}` },
      },
    );
  }
  const client = await gateway();
  const name = await deviceAtGateway(client, id, site);
  const wanted = version === undefined ? '' : `?version=${encodeURIComponent(version)}`;
  const begun = v.parse(
    begunAnswer,
    await client.post(`/devices/${encodeURIComponent(name)}/flash${wanted}`, {}),
  );
  terminal.line(`${name} gets ${begun.version}  sha256 ${begun.sha256.slice(0, 12)}…`);
  let told = '';
  for (;;) {
    const { flash, line } = await standingOf(client, name);
    if (flash.phase === 'idle') return end(terminal, begun, flash);
    const text = textOf(flash, line);
    if (text !== told) terminal.line(`  ${text}`);
    told = text;
    await wait(lookAgainMs, signal);
  }
};

const end = (
  terminal: CommandContext['terminal'],
  { device, version }: v.InferOutput<typeof begunAnswer>,
  { running, trouble }: LineFlashRow,
): void => {
  // What ran before runs on where the board was never reached: that it is the version that was wished for proves nothing.
  if (trouble !== null || running !== version) {
    throw new HoldfastError('RESOURCE_CONFLICT', trouble ?? `${device} does not run ${version}`, {
      data: { next: 'holdfast --gateway serial list' },
    });
  }
  terminal.json({ device, version });
  terminal.line(`${terminal.paint('green', '✓')} ${device} said hello and runs ${version}`);
};

const textOf = ({ phase, trouble }: LineFlashRow, { state, progress }: SerialLineRow): string => {
  if (trouble !== null) return trouble;
  // Whoever has the line has it for this.
  if (state !== 'suspended') return phaseTexts[phase];
  if (progress === null || progress.stage === 'reset') return 'knocks at the boot loader';
  return progressText(progress);
};

const phaseTexts: Readonly<Record<LineFlashRow['phase'], string>> = {
  idle: 'done',
  checking: 'looks at the release',
  waiting: 'waits for its turn',
  writing: 'waits for its line',
  proving: 'written and verified; waits for its hello',
  restoring: 'it stayed mute: what ran before is written back',
  returning: 'what ran before is back; waits for its hello',
  settled: 'is over',
};

const standingOf = async (
  client: GatewayClient,
  name: string,
): Promise<{ readonly flash: LineFlashRow; readonly line: SerialLineRow }> => {
  const { lines } = v.parse(serialAnswer, await client.get('/serial'));
  for (const line of lines) {
    const flash = line.devices.find(({ device }) => device === name)?.flash;
    if (flash != null) return { flash, line };
  }
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `${name} hangs on no line of this gateway any more`,
  );
};
