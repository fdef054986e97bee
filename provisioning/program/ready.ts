/** The ready line: the one line on stdout by which a program says that it serves, and on which ports. */
import * as v from 'valibot';

/** By name (`mqtts`, `https`, `console`, `metrics`, `link`, `grpc`), those that apply. */
export type ReadyPorts = Readonly<Record<string, number>>;

const readyLine = v.object({
  ready: v.literal(true),
  ports: v.record(v.string(), v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))),
});

export const formatReadyLine = (ports: ReadyPorts): string =>
  JSON.stringify({ ready: true, ports });

/** undefined for any other line. */
export const parseReadyLine = (line: string): ReadyPorts | undefined => {
  try {
    const parsed = v.safeParse(readyLine, JSON.parse(line));
    return parsed.success ? parsed.output.ports : undefined;
  } catch {
    return undefined;
  }
};
