/** How far the telling of all shadows is, to a control plane that may have been restored; no row: nothing is to be told. */
export const shadowTelling = {
  name: '0021-shadow-telling',
  sql: `CREATE TABLE shadow_telling (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    turn INTEGER NOT NULL,
    device TEXT NOT NULL,
    name TEXT NOT NULL
  ) STRICT;`,
};
