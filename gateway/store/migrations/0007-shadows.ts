/** The shadows of the devices and what was found in conflict. */
import { shadowSchema } from '../../shadows/stored-shadow.js';

export const shadows = { name: '0007-shadows', sql: shadowSchema };
