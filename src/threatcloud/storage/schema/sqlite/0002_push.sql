-- What followers of changes are told of campaigns, in the order of commits.
CREATE INDEX campaign_by_update ON campaign (updated_at);

-- Where changes are sent. The secret that signs them is derived from the server's own and the id, and is not here.
-- place: up to which change deliveries were made of it. failing_since: of an endpoint that has not taken anything since.
CREATE TABLE webhook (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  url TEXT NOT NULL,
  interest TEXT NOT NULL,
  place TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  failing_since INTEGER,
  disabled_at INTEGER,
  disabled_why TEXT
) STRICT;

-- Batches of events on their way. due_at: when the next attempt is, NULL for what has arrived or is given up (state
-- 'waiting', 'delivered', 'dead'). body: gone once it has arrived.
CREATE TABLE delivery (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  webhook INTEGER NOT NULL,
  state TEXT NOT NULL,
  events INTEGER NOT NULL,
  body BLOB,
  created_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  due_at INTEGER,
  attempted_at INTEGER,
  status INTEGER,
  problem TEXT
) STRICT;
CREATE INDEX delivery_by_webhook ON delivery (webhook, pk);
CREATE INDEX delivery_due ON delivery (webhook, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_settled ON delivery (created_at) WHERE due_at IS NULL;
