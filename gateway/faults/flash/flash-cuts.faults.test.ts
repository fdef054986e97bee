/**
 * Fault 2: a microcontroller is flashed by a gateway as it is shipped, and power is cut at a hundred points of that: the board's, its cable,
 * the gateway's, all of them. Boot loaders are the real ones. `HOLDFAST_FAULTS_SLICE=1` for some of the points.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { AvrBoard } from '@holdfast/devices/simulator/avr-board/avr-board';
import type { AvrBoardName } from '@holdfast/devices/simulator/avr-board/toolchain';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import { type FlashCut, flashCuts, wordsOf } from './flash-cuts.js';
import { type FlashedSite, openFlashedSite, versionsOf } from './flashed-site.js';

const limitMs = 1_800_000;
t.setTimeout(limitMs);

t.test('a flash that is cut anywhere leaves a board that runs, or is flashed again', async (t) => {
  const plan = faultPlan();
  const all = flashCuts();
  // A slice is of one board: each has to be started, and flashed once without a cut.
  const [chosen] = plan.pick(all, 1);
  const concerned = plan.isSlice ? all.filter(({ board }) => board === chosen?.board) : all;
  const cuts = [...plan.pick(concerned, 3)].sort((a, b) => a.board.localeCompare(b.board));
  t.comment(`${cuts.length} of ${all.length} points: ${plan.description}`);
  const site = await openFlashedSite(t);
  let powered: AvrBoardName | undefined;
  let version: 0 | 1 = 0;
  let operations = 0;
  for (const cut of cuts) {
    if (cut.board !== powered) {
      if (powered !== undefined) await site.board(powered).now.powerOff();
      powered = cut.board;
      await site.board(powered).now.powerOn();
      // One that nobody cuts says how many erases and writes there are.
      version = 1;
      operations = await uncut(site, cut.board, version);
    }
    version = version === 0 ? 1 : 0;
    const former = versionsOf(cut.board)[version === 0 ? 1 : 0];
    const wanted = versionsOf(cut.board)[version];
    const began = performance.now();
    const campaign = await site.update(cut.board, version);
    await carryOut(site, cut, operations);
    const says = await site.settled(cut.board, campaign);
    t.ok(says === wanted || says === former, `${wordsOf(cut)}: it runs ${says}`);
    t.comment(`${Math.round(performance.now() - began)} ms, ${says === wanted ? 'new' : 'old'}`);
    const image = await site.board(cut.board).image();
    t.equal(versionsOf(cut.board)[image], says, 'that is what stands in its flash');
    if (says === former) version = version === 0 ? 1 : 0;
    t.same(site.board(cut.board).halves, [], 'nothing started but a whole image');
  }
});

/** Resolves with the number of erases and writes. */
const uncut = async (site: FlashedSite, name: AvrBoardName, version: 0 | 1): Promise<number> => {
  const { events } = site.board(name).now;
  const before = events.length;
  const campaign = await site.update(name, version);
  await site.settled(name, campaign);
  return events.slice(before).filter((event) => /^(erased|written)/.test(event)).length;
};

/** Cuts, and has the power come back. */
const carryOut = async (
  site: FlashedSite,
  { board: name, of, at }: FlashCut,
  operations: number,
) => {
  const board = site.board(name);
  const { now } = board;
  const since = now.events.length;
  const powerOff = async (): Promise<void> => {
    if (of === 'cable') await board.unplug();
    else if (of !== 'gateway') await now.powerOff();
  };
  const done = (count: number) => operationsDone(now, since, count);
  const wanted =
    at.stage === 'erase or write' ? 1 + Math.round(at.share * (operations - 1)) : operations;
  const isByBoard = at.stage === 'erase or write' && (of === 'board' || of === 'both');
  if (isByBoard) {
    now.cutAt(wanted, at.moment);
    await now.event(/^cut /, { since });
  } else {
    await done(wanted);
    if (at.stage !== 'erase or write') await pause(at.afterMs);
  }
  const powerOn = async (): Promise<void> => {
    if (of === 'cable') await board.open();
    else if (of !== 'gateway') await now.powerOn();
  };
  if (of === 'gateway' || of === 'both') {
    await site.planned.site.whileStopped(async () => {
      if (of === 'both' && !isByBoard) await powerOff();
      await powerOn();
    }, 'kill');
  } else {
    if (!isByBoard) await powerOff();
    await powerOn();
  }
};

/**
 * Resolves at the n-th erase or write since then, or at the start of the application, should there be fewer. Not within the moment in which
 * the first page is erased and no loader holds a board any more (`devices/serial/flash/README.md`): its write is waited for.
 */
const operationsDone = async (
  { events, event }: Pick<AvrBoard, 'events' | 'event'>,
  since: number,
  count: number,
): Promise<void> => {
  let at = since;
  let last = '';
  const next = async (which: RegExp): Promise<void> => {
    last = await event(which, { since: at });
    at = events.indexOf(last, at) + 1;
  };
  for (let done = 0; done < count && !last.startsWith('application'); done += 1) {
    await next(/^(erased|written|application started)/);
  }
  if (last.startsWith('erased 0x0 ')) await next(/^(written 0x0 |application started)/);
};
