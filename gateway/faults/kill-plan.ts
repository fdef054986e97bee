/** The calls at which the gateway is killed. */
import { type FaultPlan, faultPlan } from '@holdfast/provisioning/program/fault-plan';
import type { KillPoint } from './killed-site.js';

export interface KillPlan extends Pick<FaultPlan, 'description'> {
  /** In a mixed order, so that no kill stands always behind the same one. */
  readonly points: readonly KillPoint[];
}

const sliceSize = 8;

export const killPlan = (): KillPlan => {
  // The start of the program makes some of the first calls, the load the others.
  const all = [
    ...pointsOf('pwrite64', { from: 1, to: 120, step: 1 }),
    ...pointsOf('pwrite64', { from: 121, to: 360, step: 3 }),
    ...pointsOf('fsync', { from: 1, to: 40, step: 1 }),
  ];
  const { pick, description } = faultPlan();
  const points = pick(all, sliceSize);
  return { points, description: `${points.length} of ${all.length} points: ${description}` };
};

const pointsOf = (
  call: string,
  { from, to, step }: { readonly from: number; readonly to: number; readonly step: number },
): KillPoint[] => {
  const count = Math.floor((to - from) / step) + 1;
  return Array.from({ length: count }, (_, index) => ({ call, nth: from + index * step }));
};
