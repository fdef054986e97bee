/**
 * Items by their path, so that those along a path (at it, above it and below it) are found without looking at the others: at the
 * cost of the path's length and of what is found.
 */
export class PathIndex<T extends { readonly path: readonly string[] }> {
  readonly #root: Node<T> = {};
  #size = 0;

  constructor(items: Iterable<T> = []) {
    for (const item of items) this.add(item);
  }

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    this.#size += 1;
    let node = this.#root;
    for (const key of item.path) {
      node.children ??= new Map();
      let child = node.children.get(key);
      if (child === undefined) {
        child = {};
        node.children.set(key, child);
      }
      node = child;
    }
    node.items = node.items === undefined ? [item] : [...node.items, item];
  }

  /** The very item that was added. */
  remove(item: T): void {
    let node: Node<T> | undefined = this.#root;
    for (const key of item.path) node = node?.children?.get(key);
    if (!node?.items?.includes(item)) return;
    node.items = node.items.filter((other) => other !== item);
    this.#size -= 1;
  }

  /** What is at a path, above it or below it; what is above comes first. */
  along(path: readonly string[]): T[] {
    const found: T[] = [];
    let node: Node<T> | undefined = this.#root;
    for (const key of path) {
      if (node.items !== undefined) found.push(...node.items);
      node = node.children?.get(key);
      if (node === undefined) return found;
    }
    collect(node, found);
    return found;
  }
}

interface Node<T> {
  items?: readonly T[];
  children?: Map<string, Node<T>>;
}

/** Recursion is safe here: a path of a shadow has 64 keys at most. */
const collect = <T>(node: Node<T>, found: T[]): void => {
  if (node.items !== undefined) found.push(...node.items);
  if (node.children === undefined) return;
  for (const child of node.children.values()) collect(child, found);
};

/** Whether one path is the other, above it or below it. */
export const isAlong = (a: readonly string[], b: readonly string[]): boolean => {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return false;
  return true;
};
