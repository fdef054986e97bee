/** What the link keeps: the plan, the position in the orders, the fence. */
import { linkSchema } from '../../link/link-schema.js';

export const link = { name: '0003-link', sql: linkSchema };
