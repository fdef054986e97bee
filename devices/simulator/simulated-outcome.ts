/**
 * How a firmware turns out on a simulated device. Its first line may say so, as a JSON object: `{"simulated_outcome":"crash"}` never comes
 * up, `"hang"` comes up and never becomes healthy. Everything else is good.
 */
import { open } from 'node:fs/promises';
import * as v from 'valibot';

export const simulatedOutcomes = ['ok', 'crash', 'hang'] as const;
export type SimulatedOutcome = (typeof simulatedOutcomes)[number];

const firstLine = v.object({ simulated_outcome: v.picklist(simulatedOutcomes) });

export const readOutcome = async (path: string): Promise<SimulatedOutcome> => {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1_024), 0, 1_024, 0);
    const [line = ''] = buffer.subarray(0, bytesRead).toString('utf8').split('\n');
    const parsed = v.safeParse(firstLine, JSON.parse(line));
    return parsed.success ? parsed.output.simulated_outcome : 'ok';
  } catch {
    return 'ok';
  } finally {
    await file.close();
  }
};
