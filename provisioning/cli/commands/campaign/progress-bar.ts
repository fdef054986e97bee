/** How far something is, as a bar: what went well, what did not, what is under way, and the rest. */
import type { CampaignProgress } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Terminal } from '../../terminal.js';

type Painter = Pick<Terminal, 'paint'>;

/** Every kind that is there at all takes at least one place, so that one failure in ten thousand is seen. */
export const progressBar = (
  painter: Painter,
  progress: CampaignProgress | undefined,
  width: number,
): string => {
  const p = progress;
  const total = Number(p?.total ?? 0n);
  if (p === undefined || total === 0) return painter.paint('dim', '·'.repeat(width));
  const parts = [
    { count: Number(p.succeeded), colour: 'green', mark: '█' },
    { count: Number(p.unproven), colour: 'yellow', mark: '▓' },
    { count: Number(p.failed + p.rolledBack), colour: 'red', mark: '▚' },
    { count: Number(p.cancelled + p.superseded), colour: 'dim', mark: '▒' },
    { count: Number(p.inProgress), colour: 'cyan', mark: '▌' },
  ] as const;
  let left = width;
  let bar = '';
  for (const { count, colour, mark } of parts) {
    if (count === 0 || left === 0) continue;
    const places = Math.min(left, Math.max(1, Math.floor((count / total) * width)));
    bar += painter.paint(colour, mark.repeat(places));
    left -= places;
  }
  if (left === 0) return bar;
  // Rounding alone leaves places where nothing waits: they are what went well.
  const isQueued = Number(p.queued) > 0;
  return isQueued || p.succeeded === 0n
    ? bar + painter.paint('dim', '░'.repeat(left))
    : painter.paint('green', '█'.repeat(left)) + bar;
};
