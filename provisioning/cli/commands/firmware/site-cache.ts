/** `holdfast --gateway firmware list|pin|unpin`: what a site has of the firmware that it is to have, and what it keeps whatever the plan says. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { wait } from '../../../time/wait.js';
import type { CommandContext } from '../../context.js';
import { bytes, type Column, type Terminal } from '../../terminal.js';

const text = v.nullable(v.string());

const image = v.looseObject({
  sha256: v.string(),
  model: text,
  version: text,
  delta_from: text,
  size_bytes: v.number(),
  received_bytes: v.number(),
  state: v.string(),
  waits_for: text,
  urgent: v.boolean(),
  campaigns: v.array(v.string()),
  pinned: v.nullable(v.object({ by: v.string(), at: v.number() })),
});
type Image = v.InferOutput<typeof image>;

const cache = v.looseObject({
  bytes: v.number(),
  quota_bytes: v.number(),
  wan_bytes_per_s: v.nullable(v.number()),
  problem: text,
  images: v.array(image),
});
type Cache = v.InferOutput<typeof cache>;

const lookAgainMs = 1_000;

export const listSiteFirmware = async (
  context: CommandContext,
  { watch = false }: { readonly watch?: boolean },
): Promise<void> => {
  const { terminal, gateway, signal } = context;
  const client = await gateway();
  for (;;) {
    const now = v.parse(cache, await client.get('/firmware'));
    show(terminal, now);
    if (!watch || now.images.every(({ state }) => state === 'held')) return;
    await wait(lookAgainMs, signal);
    terminal.line();
  }
};

export const pinFirmware = async (
  { terminal, gateway, asksGateway }: CommandContext,
  name: string,
  verb: 'pin' | 'unpin',
): Promise<void> => {
  if (!asksGateway) {
    throw new HoldfastError('REQUEST_INVALID', 'only a gateway has a cache to pin firmware in', {
      data: { next: `holdfast --gateway firmware ${verb} ${name}` },
    });
  }
  const client = await gateway();
  const answer = v.parse(
    v.object({ model: v.string(), version: v.string(), sha256: v.string() }),
    await client.post(`/firmware/${encodeURIComponent(name)}/${verb}`, {}),
  );
  terminal.json(answer);
  const { model, version } = answer;
  terminal.line(
    verb === 'pin'
      ? `${terminal.paint('green', '✓')} ${model}@${version} stays here, whatever the plan says`
      : `${terminal.paint('green', '✓')} ${model}@${version} stays as long as the plan needs it`,
  );
};

const show = (terminal: Terminal, now: Cache): void => {
  if (terminal.isJson) {
    terminal.json(now);
    return;
  }
  const isWaiting = now.images.some(({ waits_for }) => waits_for !== null);
  terminal.table(
    now.images,
    isWaiting ? [...columns, { title: 'WAITS FOR', value: waitsFor }] : columns,
    'No firmware is here, and the plan names none',
  );
  const rate = now.wan_bytes_per_s;
  const limit = rate === null ? '' : `, at most ${bytes(rate)}/s over the WAN`;
  terminal.line(
    terminal.paint('dim', `${bytes(now.bytes)} of ${bytes(now.quota_bytes)} are used${limit}`),
  );
  if (now.problem !== null) terminal.line(`${terminal.paint('yellow', '!')} ${now.problem}`);
};

const nameOf = ({ model, version, sha256, delta_from }: Image): string => {
  const name = model === null ? `${sha256.slice(0, 12)}…` : `${model}@${version}`;
  return delta_from === null ? name : `${name} from ${delta_from || 'nothing'}`;
};

const barLength = 20;

const stateOf = ({ state, received_bytes, size_bytes }: Image): string => {
  if (state === 'held') return state;
  const share = received_bytes / size_bytes;
  const full = Math.floor(share * barLength);
  const bar = '█'.repeat(full) + '░'.repeat(barLength - full);
  return `${state} ${bar} ${Math.floor(share * 100)} %`;
};

const columns: readonly Column<Image>[] = [
  { title: 'FIRMWARE', value: nameOf },
  { title: 'SIZE', value: (one) => bytes(one.size_bytes) },
  {
    title: 'STATE',
    value: stateOf,
    colour: ({ state }) => (state === 'held' ? 'green' : 'yellow'),
  },
  { title: 'PINNED BY', value: ({ pinned }) => pinned?.by },
  { title: 'NEEDED BY', value: ({ campaigns }) => campaigns.join(', ') || undefined },
];

/** In a column of its own heading, without the verb. */
const waitsFor = ({ waits_for }: Image): string | undefined =>
  waits_for?.replace(/^waits for /, '') ?? undefined;
