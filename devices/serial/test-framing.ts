/** Both receivers under damaged streams: what each took of them, and whether that is right. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { checkLine, isAsPromised } from './checksum.js';
import { parseDownFrame } from './frames.js';
import { LineFramer } from './line-framer.js';
import type { DamagedStream } from './test-streams.js';

/** What the gateway's own framer takes. */
export const takenByFramer = ({ chunks }: DamagedStream): string[] => {
  const framer = new LineFramer({ maxLineBytes: 4_096 });
  const taken: string[] = [];
  for (const line of chunks.flatMap((chunk) => framer.push(chunk))) {
    const received = parseDownFrame(line);
    const checked = checkLine(line);
    if (received !== null && checked.ok && isAsPromised(received.checksum, 32)) {
      taken.push(checked.json);
    }
  }
  return taken;
};

/** What the C client takes: `program` is host/framing.c, a process for all of them. */
export const takenByClient = async (
  program: string,
  streams: readonly DamagedStream[],
): Promise<string[][]> => {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'close');
  const answers: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => answers.push(chunk));
  child.stdin.on('error', () => undefined);
  for (const { bytes } of streams) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    child.stdin.write(length);
    if (!child.stdin.write(bytes)) await Promise.race([once(child.stdin, 'drain'), exited]);
  }
  child.stdin.end();
  const [code] = await exited;
  if (code !== 0) throw new Error(`The client ended with ${String(code)}`);
  return readAnswers(Buffer.concat(answers));
};

const readAnswers = (bytes: Buffer): string[][] => {
  const taken: string[][] = [];
  for (let at = 0; at < bytes.length; ) {
    const count = bytes.readUInt32LE(at);
    at += 4;
    const lines: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const length = bytes.readUInt16LE(at);
      lines.push(bytes.toString('utf8', at + 2, at + 2 + length));
      at += 2 + length;
    }
    taken.push(lines);
  }
  return taken;
};

/** What is wrong with what was taken; undefined where it is as it should be. */
export const faultOf = (stream: DamagedStream, taken: readonly string[]): string | undefined => {
  const strange = taken.find((json) => !stream.sent.has(json));
  if (strange !== undefined) return `seed ${String(stream.seed)}: took ${strange}`;
  const [first, second] = stream.last;
  if (taken.at(-1) !== second) return `seed ${String(stream.seed)}: lost the last frame`;
  if (stream.isLastLineClean && taken.at(-2) !== first) {
    return `seed ${String(stream.seed)}: lost the frame after a clean newline`;
  }
  return undefined;
};
