/** Sessions, what waits for them, retained messages and wills of the broker: its own file has the tables. */
import { brokerSchema } from '../../broker/broker-schema.js';

export const broker = { name: '0009-broker', sql: brokerSchema };
