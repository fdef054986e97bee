/** Commands as the API shows them. */
import { type Command, CommandState } from '@holdfast/protos/gen/holdfast/v1/commands';
import { deviceName } from '../api/resource-name.js';
import { optionalDate } from '../sites/site-messages.js';
import type { CommandRow } from './command-records.js';

const states: Readonly<Record<CommandRow['state'], CommandState>> = {
  pending: CommandState.COMMAND_STATE_PENDING,
  delivered: CommandState.COMMAND_STATE_DELIVERED,
  succeeded: CommandState.COMMAND_STATE_SUCCEEDED,
  failed: CommandState.COMMAND_STATE_FAILED,
  expired: CommandState.COMMAND_STATE_EXPIRED,
};

/** What ran out is shown so, whether or not its site could say so yet; an answer that was in time may still come. */
export const commandMessage = (row: CommandRow, now: number): Command => {
  const isOverdue = (row.state === 'pending' || row.state === 'delivered') && row.expires_at <= now;
  return {
    name: `${deviceName(row.site_id, row.device_id)}/commands/${row.command_id}`,
    type: row.type,
    payload: objectOf(row.payload),
    state: isOverdue ? CommandState.COMMAND_STATE_EXPIRED : states[row.state],
    response: row.response === null ? undefined : objectOf(row.response),
    error: row.error ?? '',
    createTime: new Date(row.created_at),
    expireTime: new Date(row.expires_at),
    responseTime: optionalDate(row.responded_at),
  };
};

/** A Struct holds an object; what a device answered with something else is shown under `value`. */
const objectOf = (json: string): Record<string, unknown> => {
  const value: unknown = JSON.parse(json);
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? { ...value } : { value };
};
