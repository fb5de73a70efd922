-- What CrowdSec's bouncers have been told, by key and address: answers begin at the release `older`, and are to begin at
-- `newer` once that was told long enough ago; whole_at is when all that stands was told last.
CREATE TABLE bouncer (
  name TEXT PRIMARY KEY,
  older TEXT NOT NULL,
  newer TEXT NOT NULL,
  newer_at INTEGER NOT NULL,
  whole_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX bouncer_by_age ON bouncer (whole_at);
