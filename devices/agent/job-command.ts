/** Handlers of jobs as they are configured: a line of the shell each, with the job's document on its standard input. */
import type { JobHandler } from './configuration.js';
import type { Log } from './log.js';
import type { JobWork } from './plain-jobs.js';
import { endLeftovers } from './update/process-group.js';
import { runCommand, shell } from './update/run-command.js';

/** What the gateway takes of one detail. */
const maxOutputBytes = 1_000;
const endGraceMs = 5_000;

/** Ends what a killed predecessor of this process left running. */
export const openJobHandlers = async (
  { log }: { readonly log: Log },
  { handlers, owner }: { readonly handlers: readonly JobHandler[]; readonly owner: string },
): Promise<ReadonlyMap<string, JobWork>> => {
  if (handlers.length > 0) await endLeftovers(owner, endGraceMs);
  return new Map(
    handlers.map(({ name, command, timeoutS }) => [
      name,
      async (document, signal) => {
        const { output, isTruncated } = await runCommand({
          command: shell(command),
          input: JSON.stringify(document),
          timeoutMs: timeoutS * 1_000,
          said: (line) => log.info({ job: name, line }, 'job'),
          ...{ maxOutputBytes, owner, signal },
        });
        const said = output.trim();
        return {
          ...(said !== '' && { output: said }),
          ...(isTruncated && { output_truncated: 'true' }),
        };
      },
    ]),
  );
};
