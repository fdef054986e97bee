/** What every command gets: where to ask, and where to show. */
import type { CloudClient } from './cloud-client.js';
import type { GatewayClient } from './gateway-client.js';
import type { Terminal } from './terminal.js';

export interface CommandContext {
  readonly terminal: Terminal;
  readonly now: () => number;
  /** True when the command shall ask the gateway on site instead of the control plane (`--gateway`). */
  readonly asksGateway: boolean;
  /** The control plane's API; throws with what to do when nobody logged in. Closed after the command. */
  cloud(): Promise<CloudClient>;
  /** The gateway's local API, likewise. */
  gateway(): Promise<GatewayClient>;
  /** Ends on Ctrl-C. */
  readonly signal: AbortSignal;
  /** The command line as it was typed. */
  readonly argv: readonly string[];
  /** Folder of the logins. */
  readonly dataDirectory: string;
  /** A password: typed without being shown where a terminal is, else the first line of standard input. */
  readPassword(prompt: string): Promise<string>;
  /** Everything that was given on standard input. */
  readStandardInput(): Promise<string>;
}

/** Every page of a list method, in order. */
export async function* eachPage<T>(
  fetchPage: (pageToken: string) => Promise<{ items: readonly T[]; nextPageToken: string }>,
): AsyncGenerator<T> {
  let pageToken = '';
  do {
    const page = await fetchPage(pageToken);
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

export const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};
