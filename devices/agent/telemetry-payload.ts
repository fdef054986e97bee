import type { QueuedPoint } from './telemetry-spool.js';

/** What `dt/{id}/telemetry/{sensor}` carries: one point as it is, several as a batch. */
export const telemetryPayload = (points: readonly QueuedPoint[]): object => {
  const values = points.map(({ series: _, ...point }) => point);
  return values.length === 1 ? (values[0] ?? {}) : { values };
};
