/** Commands as rows of site.db, and what the journal says of them. */
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { Append, Statement } from '@holdfast/provisioning/storage/write';
import { journalEntry } from '../store/journal.js';
import { effect } from '../store/outbox.js';

/** `accepted`: the device works on it; for everybody else it is still delivered. */
export type CommandState = 'delivered' | 'accepted' | 'succeeded' | 'failed' | 'expired';

export const isOpen = (state: CommandState): boolean =>
  state === 'delivered' || state === 'accepted';

export interface CommandView {
  readonly device: string;
  readonly command: string;
  readonly type: string;
  readonly payload: JsonValue;
  /** Epoch ms. */
  readonly expiresAt: number;
  readonly state: CommandState;
  readonly response: JsonValue;
  readonly error: string | null;
  readonly createdAt: number;
  readonly answeredAt: number | null;
}

export interface CommandRow {
  readonly device: string;
  readonly command: string;
  readonly type: string;
  readonly payload: string;
  readonly expires_at: number;
  readonly state: string;
  readonly response: string | null;
  readonly error: string | null;
  readonly created_at: number;
  readonly answered_at: number | null;
}

/** Only this file writes the JSON and the words in them. */
export const commandOf = (row: CommandRow): CommandView => ({
  device: row.device,
  command: row.command,
  type: row.type,
  payload: JSON.parse(row.payload) as JsonValue,
  expiresAt: row.expires_at,
  state: row.state as CommandState,
  response: row.response === null ? null : (JSON.parse(row.response) as JsonValue),
  error: row.error,
  createdAt: row.created_at,
  answeredAt: row.answered_at,
});

export const sendKind = 'command.send';

export const createWrite = (view: CommandView): (Statement | Append)[] => [
  {
    sql: `INSERT INTO commands (device, command, type, payload, expires_at, state, created_at)
          VALUES (?, ?, ?, ?, ?, ?, ?)`,
    params: [
      view.device,
      view.command,
      view.type,
      JSON.stringify(view.payload),
      view.expiresAt,
      view.state,
      view.createdAt,
    ],
  },
  entryOf(view, view.createdAt),
  ...(isOpen(view.state)
    ? [
        effect(
          sendKind,
          `${sendKind}:${view.device}:${view.command}`,
          { device: view.device, command: view.command },
          `device:${view.device}`,
        ),
      ]
    : []),
];

export const answerWrite = (view: CommandView, at: number): (Statement | Append)[] => [
  update(view),
  // That the device works on it is no news for the control plane: it was delivered.
  ...(isOpen(view.state) ? [] : [entryOf(view, at)]),
];

export const expireWrite = (view: CommandView, at: number): (Statement | Append)[] => [
  update(view),
  entryOf(view, at),
];

const update = (view: CommandView): Statement => ({
  sql: `UPDATE commands SET state = ?, response = ?, error = ?, answered_at = ?
        WHERE device = ? AND command = ? AND state IN ('delivered', 'accepted')`,
  params: [
    view.state,
    view.response === null ? null : JSON.stringify(view.response),
    view.error,
    view.answeredAt,
    view.device,
    view.command,
  ],
  expectChanges: 1,
});

export const deleteCommand = ({
  device,
  command,
}: Pick<CommandRow, 'device' | 'command'>): Statement => ({
  sql: `DELETE FROM commands WHERE device = ? AND command = ? AND state NOT IN ('delivered', 'accepted')`,
  params: [device, command],
});

const entryOf = (view: CommandView, at: number): Append =>
  journalEntry(
    'state',
    'command',
    {
      device: view.device,
      command: view.command,
      state: view.state === 'accepted' ? 'delivered' : view.state,
      response: view.response,
      error: view.error,
    },
    at,
  );

/** Of a command that was never one here. */
export const failureEntry = (
  { device, command, error }: { device: string; command: string; error: string },
  at: number,
): Append =>
  journalEntry(
    'state',
    'command',
    { device, command, state: 'failed', response: null, error: error.slice(0, 500) },
    at,
  );
