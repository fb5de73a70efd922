-- What CrowdSec's bouncers have been told, by key and address: answers begin at the release `older`, and are to begin at
-- `newer` once that was told long enough ago; whole_at is when all that stands was told last.
CREATE TABLE bouncer (
  name text COLLATE "C" PRIMARY KEY,
  older text COLLATE "C" NOT NULL,
  newer text COLLATE "C" NOT NULL,
  newer_at bigint NOT NULL,
  whole_at bigint NOT NULL
);
CREATE INDEX bouncer_by_age ON bouncer (whole_at);
