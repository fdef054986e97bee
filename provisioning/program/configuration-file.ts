/** A configuration file (YAML), read so that whatever is wrong in it can be told with its line. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isMap, isNode, isPair, isSeq, LineCounter, parseDocument } from 'yaml';

/** What a file says, before it is read. */
export interface FileText {
  /** As messages call it. */
  readonly name: string;
  readonly text: string;
}

export type Tree = Record<string, unknown>;

export interface ConfigurationFile {
  readonly name: string;
  readonly tree: Tree;
  /** The line of a setting, or of what is nearest above it. */
  lineOf(path: readonly (string | number)[]): number;
}

const maxFileBytes = 1024 * 1024;

/** Errors: CONFIGURATION_INVALID. */
export const readFileText = async (path: string): Promise<FileText> => {
  try {
    return { name: path, text: await readFile(path, 'utf8') };
  } catch (error) {
    throw invalid([`${path}: ${messageOf(error)}`], error);
  }
};

/** Errors: CONFIGURATION_INVALID, whose message has a line for each thing that is wrong. */
export const parseConfigurationFile = ({ name, text }: FileText): ConfigurationFile => {
  if (text.length > maxFileBytes) throw invalid([`${name}: is larger than ${maxFileBytes} bytes`]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): number => lines.linePos(offset).line;
  if (document.errors.length > 0) {
    throw invalid(document.errors.map(({ pos, message }) => `${name}:${at(pos[0])}: ${message}`));
  }
  const tree = toTree(name, () => document.toJS({ maxAliasCount: 0 }) ?? {});
  return {
    name,
    tree,
    lineOf(path) {
      let line = at(document.contents?.range?.[0] ?? 0);
      let node: unknown = document.contents;
      for (const key of path) {
        const pair = isMap(node)
          ? node.items.find((item) => isPair(item) && String(item.key) === String(key))
          : undefined;
        const next: unknown = pair?.value ?? (isSeq(node) ? node.items[Number(key)] : undefined);
        const found = pair?.key ?? next;
        if (!isNode(found) || !found.range) break;
        line = at(found.range[0]);
        node = next;
      }
      return line;
    },
  };
};

const toTree = (name: string, read: () => unknown): Tree => {
  let value: unknown;
  try {
    value = read();
  } catch (error) {
    throw invalid([`${name}: ${messageOf(error)}`], error);
  }
  if (isTree(value)) return value;
  throw invalid([`${name}: must hold sections with settings, as "listen:" and below it "host: …"`]);
};

export const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const invalid = (lines: readonly string[], cause?: unknown): HoldfastError =>
  new HoldfastError('CONFIGURATION_INVALID', lines.join('\n'), { cause });
