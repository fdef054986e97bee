/** `GET /firmware/metadata`: what firmware is signed with, for devices that verify it by themselves. */
import type { PlannedMetadata } from '../../updates/planned-metadata.js';
import type { Route } from './routes.js';

export const metadataRoute = (read: () => Promise<PlannedMetadata>): Route => ({
  method: 'GET',
  path: '/firmware/metadata',
  right: 'firmware.metadata',
  handle: () => read(),
});
