/** When the control plane was last heard by a clock that was trusted, epoch ms: one row. */
export const controlPlaneHeard = {
  name: '0015-control-plane-heard',
  sql: `
CREATE TABLE control_plane_heard (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at INTEGER NOT NULL
) STRICT;
`,
};
