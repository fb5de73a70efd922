-- Lists of others that are fetched regularly. name: the source its values are listed under. terms: how it is read, known:
-- what is known of the last polls, figures: what it is worth beside others, each as JSON. removed_at: its listings end.
CREATE TABLE polled_source (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  url TEXT NOT NULL,
  terms TEXT NOT NULL,
  known TEXT NOT NULL,
  figures TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  removed_at INTEGER
) STRICT;
