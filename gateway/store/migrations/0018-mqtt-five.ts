/** What sessions, subscriptions, messages and wills of MQTT 5 clients have besides. */
import { mqtt5Schema } from '../../broker/broker-schema.js';

export const mqttFive = { name: '0018-mqtt-five', sql: mqtt5Schema };
