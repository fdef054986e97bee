/** Kills a gateway, its board, or both, at one point of a flash, starts them again, and looks whether the board gets there all the same. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Test } from 'tap';
import { folderOf } from '../test-serial-site.js';
import type { TestBoard } from './test-board.js';
import { becomes, makeBoard, startSite } from './test-flashed-site.js';

export type KillPoint =
  | { readonly commit: number; readonly when: 'before' | 'after' }
  | { readonly page: number; readonly what: 'gateway' | 'board' | 'both' };

export const nameOf = (point: KillPoint): string =>
  'commit' in point
    ? `the gateway ${point.when} commit ${point.commit}`
    : `${point.what} at page ${point.page}`;

/** What of a point is reached no more: the flash was over before. */
export interface KillOutcome {
  readonly wasReached: boolean;
  readonly status: string;
  readonly attempt: number;
  readonly holds: string | null;
}

/** Without a point: how many commits and pages a flash has. */
export const killAt = async (t: Test, point?: KillPoint): Promise<KillOutcome> => {
  const folder = await folderOf(t);
  const board = makeBoard();
  const power = new Power();
  if (point !== undefined) arrange(power, board, point);
  const first = await startSite(t, folder, board, { through: power.through });
  const end = becomes(first, 'succeeded').catch(() => undefined);
  await Promise.race([end, power.cut]);
  const wasReached = power.isCut;
  await first.close();
  board.onPage = () => undefined;
  if (board.isOff) board.powerCycle();
  const second = await startSite(t, folder, board);
  const { status, attempt } = await becomes(second, 'succeeded');
  await second.close();
  return { wasReached, status, attempt, holds: board.holds };
};

/** Of one life of the gateway. */
class Power {
  isCut = false;
  commits = 0;
  readonly cut: Promise<void>;
  #at: Extract<KillPoint, { commit: number }> | undefined;
  #resolve: () => void = () => undefined;

  constructor() {
    this.cut = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  cutAt(point: Extract<KillPoint, { commit: number }>): void {
    this.#at = point;
  }

  fail(): void {
    this.isCut = true;
    this.#resolve();
  }

  readonly through = async (commit: () => Promise<void>): Promise<void> => {
    this.#check();
    this.commits += 1;
    if (this.commits !== this.#at?.commit) return commit();
    if (this.#at.when === 'after') await commit();
    this.fail();
    this.#check();
  };

  #check(): void {
    if (this.isCut) throw new HoldfastError('STORE_UNAVAILABLE', 'the power is off');
  }
}

const arrange = (power: Power, board: TestBoard, point: KillPoint): void => {
  if ('commit' in point) {
    power.cutAt(point);
    return;
  }
  board.onPage = (write) => {
    if (write !== point.page) return;
    if (point.what !== 'gateway') board.cutPower();
    power.fail();
  };
};

/** So many a flash has at least; what is behind its end changes nothing. */
export const pagesOfFlash = 9;
