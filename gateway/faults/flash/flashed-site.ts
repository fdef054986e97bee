/** A gateway as a program with three boards on its lines, one for each of the real boot loaders, and two versions for each of them. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileModemLines } from '@holdfast/devices/simulator/avr-board/modem-lines';
import {
  type AvrBoardName,
  avrBoards,
  compileApplication,
  compileAvrBoard,
  loaderFile,
} from '@holdfast/devices/simulator/avr-board/toolchain';
import { serialLineRow } from '@holdfast/protos/local/serial';
import { prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import type { Test } from 'tap';
import * as v from 'valibot';
import {
  openPlannedSite,
  type PlannedSite,
  plannedCampaign,
} from '../../trust/planned-site-under-test.js';
import { CutBoard } from './cut-board.js';

export interface FlashedSite {
  readonly planned: PlannedSite;
  /** Its power is off. */
  board(name: AvrBoardName): CutBoard;
  /** Begins an update of a board to one of its versions; resolves when the gateway has the plan. */
  update(name: AvrBoardName, version: 0 | 1): Promise<string>;
  /** Resolves when that is over, the board is online, and the gateway has nothing to do for it; the version that it says. */
  settled(name: AvrBoardName, campaign: string): Promise<string>;
}

const names: readonly AvrBoardName[] = ['optiboot', 'atmegaboot', 'stk500boot'];
/** Applications are of one model, so that their versions tell the boards apart. */
const model = 'avr-board';
export const versionsOf = (name: AvrBoardName): readonly [string, string] => {
  const minor = names.indexOf(name);
  return [`1.${minor}.0`, `2.${minor}.0`];
};
const imageBytes = 2_048;
const over: ReadonlySet<string> = new Set(['succeeded', 'failed', 'rolled_back', 'unproven']);

export const openFlashedSite = async (t: Test): Promise<FlashedSite> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-flash-'));
  const lines = join(folder, 'lines');
  await mkdir(lines);
  const program = await compileAvrBoard(folder);
  const environment = await compileModemLines(folder, lines);
  const boards = new Map<AvrBoardName, CutBoard>();
  const firmware = [];
  const configuration = [];
  for (const name of names) {
    const { part, protocol, baudRate } = avrBoards[name];
    const files = [];
    for (const version of versionsOf(name)) {
      files.push(
        await compileApplication(folder, {
          ...{ board: name, device: name, version, bytes: imageBytes },
        }),
      );
    }
    const images = await Promise.all(files.map((file) => readFile(file)));
    for (const [index, version] of versionsOf(name).entries()) {
      const image = images[index] ?? Buffer.alloc(0);
      firmware.push({ model, version, image, installer: 'flash' as const, part });
    }
    const link = join(lines, name);
    const flash = { protocol, part, reset: 'dtr' };
    configuration.push({ device: name, path: link, baudRate, flash });
    const of = partNamed(protocol, part);
    const board = new CutBoard({
      ...{ program, board: name, loader: await loaderFile(folder, name), link },
      ...{
        application: files[0] ?? '',
        images: images.map((file) => prepareImage(file, of).bytes),
      },
    });
    boards.set(name, board);
  }
  t.teardown(async () => {
    for (const board of boards.values()) await board.close();
    await rm(folder, { recursive: true, force: true });
  });
  for (const board of boards.values()) {
    await board.open();
    await board.now.powerOff();
  }
  const planned = await openPlannedSite(t, {
    firmware,
    settings: { HOLDFAST_SERIAL__LINES: JSON.stringify(configuration), ...environment },
  });
  const { site } = planned;
  let campaigns = 0;
  const lineOf = async (name: AvrBoardName) => {
    const { body } = await site.ask('GET', '/api/v1/status');
    return v.parse(v.array(serialLineRow), body.serial_lines).find((line) => line.name === name);
  };
  const deviceOf = async (name: AvrBoardName): Promise<Record<string, unknown>> =>
    (await site.ask('GET', `/api/v1/devices/${name}`)).body;
  const statusOf = async (name: AvrBoardName, campaign: string): Promise<string> => {
    const [row] = await site.read<{ status: string }>(
      'SELECT status FROM executions WHERE device = ? AND campaign = ?',
      [name, campaign],
    );
    return row?.status ?? 'none';
  };
  return {
    planned,
    board: (name) => {
      const board = boards.get(name);
      if (board === undefined) throw new Error(`no board ${name}`);
      return board;
    },
    async update(name, version) {
      campaigns += 1;
      const campaign = `cut-${campaigns}`;
      const image = `${model}@${versionsOf(name)[version]}`;
      const older = { allows_older: [image] };
      const body = plannedCampaign({ firmware: [image] }, [name], older);
      await planned.plan({ [campaign]: body });
      return campaign;
    },
    async settled(name, campaign) {
      let seen: unknown;
      const isSettled = async (): Promise<boolean> => {
        const status = await statusOf(name, campaign);
        const line = await lineOf(name);
        seen = { status, line, image: await boards.get(name)?.image() };
        const isUp = line?.state === 'up' && line.devices[0]?.online === true;
        return over.has(status) && isUp && (await boards.get(name)?.image()) !== -1;
      };
      const options = { everyMs: 50, deadlineMs: 90_000 };
      await waitUntil(`${name} is settled`, isSettled, options).catch((cause: unknown) => {
        const { events } = boards.get(name)?.now ?? { events: [] };
        const text = `${JSON.stringify(seen)}; ${events.slice(-40).join(', ')}`;
        throw new Error(`it is not settled: ${text}`, { cause });
      });
      return String((await deviceOf(name)).firmware_version);
    },
  };
};
