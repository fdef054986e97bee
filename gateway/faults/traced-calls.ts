/** What `strace -f` wrote down, a call each: one that another thread's came between is put together again. */

export interface TracedCall {
  /** With the id of its thread in front, and its result at the end. */
  readonly text: string;
  /** Its lines, which say what came before what. */
  readonly began: number;
  readonly ended: number;
}

const unfinished = '<unfinished ...>';

export const tracedCalls = (trace: string): TracedCall[] => {
  const calls: TracedCall[] = [];
  const begun = new Map<string, { readonly text: string; readonly began: number }>();
  for (const [at, line] of trace.split('\n').entries()) {
    const [thread = ''] = line.split(' ', 1);
    if (line.endsWith(unfinished)) {
      begun.set(thread, { text: line.slice(0, -unfinished.length), began: at });
      continue;
    }
    const [, rest] = /<\.\.\. \w+ resumed>(.*)$/.exec(line) ?? [];
    const first = rest === undefined ? undefined : begun.get(thread);
    if (first === undefined) calls.push({ text: line, began: at, ended: at });
    else calls.push({ text: `${first.text}${rest}`, began: first.began, ended: at });
  }
  return calls;
};
