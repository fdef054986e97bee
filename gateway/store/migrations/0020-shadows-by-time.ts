/** The highest time of all shadows is read at each start: without an index, with all of them. */
export const shadowsByTime = {
  name: '0020-shadows-by-time',
  sql: 'CREATE INDEX shadows_by_time ON shadows (wall, counter);',
};
