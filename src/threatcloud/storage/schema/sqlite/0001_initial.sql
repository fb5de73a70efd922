-- Facts (append-only) come first, then the projections that can be rebuilt from them, then the server's own state.
-- Times are UTC milliseconds, hours are milliseconds / 3 600 000.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE source (pk INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Who speaks: 'key:<lineage>', 'block:<network>' for callers without a key, 'feed:<source>' for bulk sources,
-- 'trap:<source>' and 'replay:<reporter>' in imported logs.
CREATE TABLE reporter (pk INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL) STRICT;

-- country: the one it is counted under; describes: whether its context is said of the indicator, not of the sighting.
CREATE TABLE sighting (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  indicator INTEGER NOT NULL,
  reporter INTEGER NOT NULL,
  source INTEGER NOT NULL,
  kind TEXT NOT NULL,
  observed_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  category TEXT,
  severity INTEGER,
  confidence REAL NOT NULL,
  context TEXT,
  country TEXT,
  expires_at INTEGER,
  tlp TEXT,
  anonymised INTEGER NOT NULL,
  describes INTEGER NOT NULL
) STRICT;
CREATE INDEX sighting_by_indicator ON sighting (indicator, observed_at, pk);
CREATE INDEX sighting_by_time ON sighting (observed_at, indicator) WHERE kind = 'positive';

CREATE TABLE listing (
  indicator INTEGER NOT NULL,
  source INTEGER NOT NULL,
  reporter INTEGER NOT NULL,
  first_listed_at INTEGER NOT NULL,
  last_confirmed_at INTEGER NOT NULL,
  gone_at INTEGER,
  category TEXT,
  severity INTEGER,
  confidence REAL NOT NULL,
  context TEXT,
  PRIMARY KEY (indicator, source)
) STRICT, WITHOUT ROWID;

-- Projections ---------------------------------------------------------------------------------------------------

-- id: the first 16 bytes of SHA-256(type, 0x00, value); type: the code of the indicator type.
-- shared: in the indicator feed; listed: in the default blocklists; next_change_at: when age can move the reputation.
CREATE TABLE indicator (
  pk INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  type INTEGER NOT NULL,
  value TEXT NOT NULL,
  status TEXT NOT NULL,
  reputation INTEGER NOT NULL,
  category TEXT,
  severity INTEGER,
  confidence REAL NOT NULL,
  source INTEGER NOT NULL,
  sources TEXT NOT NULL,
  sightings INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  next_change_at INTEGER,
  withheld_code TEXT,
  withheld_list TEXT,
  cloud TEXT,
  country TEXT,
  asn INTEGER,
  tlp TEXT,
  metadata TEXT,
  shared INTEGER NOT NULL,
  listed INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX indicator_by_id ON indicator (id);
CREATE INDEX indicator_by_update ON indicator (type, updated_at);
CREATE INDEX indicator_by_expiry ON indicator (status, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX indicator_shared ON indicator (type, reputation) WHERE shared = 1;

CREATE TABLE evidence (
  indicator INTEGER NOT NULL,
  reporter INTEGER NOT NULL,
  source INTEGER NOT NULL,
  reports INTEGER NOT NULL,
  positive REAL NOT NULL,
  negative REAL NOT NULL,
  mass_at INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  weight REAL NOT NULL,
  weight_at INTEGER NOT NULL,
  confidence REAL NOT NULL,
  category TEXT,
  category_weight REAL NOT NULL,
  category_at INTEGER NOT NULL,
  low_at INTEGER NOT NULL,
  medium_at INTEGER NOT NULL,
  high_at INTEGER NOT NULL,
  critical_at INTEGER NOT NULL,
  vouched INTEGER NOT NULL,
  PRIMARY KEY (indicator, reporter, source)
) STRICT, WITHOUT ROWID;

-- Tags ('tag') and ATT&CK techniques ('technique') of indicators, for filters.
CREATE TABLE label (
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  indicator INTEGER NOT NULL,
  PRIMARY KEY (kind, value, indicator)
) STRICT, WITHOUT ROWID;

-- Networks by packed address (16 bytes) and prefix (1 byte).
CREATE TABLE network (packed BLOB PRIMARY KEY, indicator INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Relations between indicators by id, with who says so; either may be stored later than the relation.
CREATE TABLE relation (
  subject BLOB NOT NULL,
  object BLOB NOT NULL,
  kind TEXT NOT NULL,
  reporter INTEGER NOT NULL,
  PRIMARY KEY (subject, object, kind, reporter)
) STRICT, WITHOUT ROWID;
CREATE INDEX relation_by_object ON relation (object);

CREATE TABLE rollup_hour (
  hour INTEGER NOT NULL,
  type INTEGER NOT NULL,
  category TEXT NOT NULL,
  indicators INTEGER NOT NULL,
  sightings INTEGER NOT NULL,
  PRIMARY KEY (hour, type, category)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_technique (
  hour INTEGER NOT NULL,
  technique TEXT NOT NULL,
  sightings INTEGER NOT NULL,
  PRIMARY KEY (hour, technique)
) STRICT, WITHOUT ROWID;

-- What reports of a category say: kind 'country', 'port' or 'technique'.
CREATE TABLE rollup_trait (
  hour INTEGER NOT NULL,
  category TEXT NOT NULL,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  sightings INTEGER NOT NULL,
  PRIMARY KEY (hour, category, kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_last_seen (
  hour INTEGER NOT NULL,
  type INTEGER NOT NULL,
  category TEXT NOT NULL,
  country TEXT NOT NULL,
  indicators INTEGER NOT NULL,
  PRIMARY KEY (hour, type, category, country)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_total (
  type INTEGER NOT NULL,
  category TEXT NOT NULL,
  status TEXT NOT NULL,
  indicators INTEGER NOT NULL,
  sightings INTEGER NOT NULL,
  PRIMARY KEY (type, category, status)
) STRICT, WITHOUT ROWID;

-- Every entry into or exit from a published set, in commit order. change: 'listed', 'unlisted', 'unshared';
-- 'erased' stands for what can no longer be named and has the indicator 0.
CREATE TABLE feed_change (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  indicator INTEGER NOT NULL,
  change TEXT NOT NULL
) STRICT;

-- Indicators that are removed, by the row number they had (none is used again), for as long as changes name them.
CREATE TABLE departed (
  indicator INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  type INTEGER NOT NULL,
  value TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX departed_by_time ON departed (at);

-- What time alone (expiry, decay) would take off a default list, by row number: it stands there until it is let go.
-- reputation: the last with which it was listed. Nothing that is fading is removed by retention.
CREATE TABLE fading (indicator INTEGER PRIMARY KEY, type INTEGER NOT NULL, reputation INTEGER NOT NULL) STRICT;
CREATE INDEX fading_by_type ON fading (type);

-- By default list: the most entries it had in a day, how many time has taken off since, and since when it is held.
CREATE TABLE hold (
  type INTEGER PRIMARY KEY,
  since INTEGER NOT NULL,
  most INTEGER NOT NULL,
  faded INTEGER NOT NULL,
  held_at INTEGER
) STRICT;

-- The versions agents know: every change up to seq, and of rules up to rules_at, was in the package of that version.
CREATE TABLE release (
  version TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  rules_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Detection rules. published_at: when it was stored as it is; entered_at: since when agents get it (NULL: they do not).
CREATE TABLE rule (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  rule_id TEXT NOT NULL UNIQUE,
  content TEXT NOT NULL,
  source TEXT NOT NULL,
  authored_at INTEGER,
  published_at INTEGER NOT NULL,
  entered_at INTEGER
) STRICT;
CREATE INDEX rule_by_publication ON rule (published_at);
CREATE INDEX rule_atr_by_publication ON rule (published_at) WHERE entered_at IS NOT NULL;

-- Rules that agents got from entered_at until gone_at.
CREATE TABLE rule_gone (
  gone_at INTEGER NOT NULL,
  rule_id TEXT NOT NULL,
  entered_at INTEGER NOT NULL,
  PRIMARY KEY (gone_at, rule_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX rule_gone_by_id ON rule_gone (rule_id);

CREATE TABLE snapshot (
  name TEXT PRIMARY KEY,
  generated_at INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  body_zstd BLOB NOT NULL
) STRICT;

-- Campaigns -----------------------------------------------------------------------------------------------------

-- What indicators have in common. key: the kind of the feature in its low 4 bits, a digest of its text above.
CREATE TABLE feature (
  indicator INTEGER NOT NULL,
  key INTEGER NOT NULL,
  PRIMARY KEY (indicator, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX feature_by_key ON feature (key, indicator);

-- The words for features that two or more indicators have.
CREATE TABLE feature_name (key INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;

-- Indicators that correlation is to look at again, because an operator moved them.
CREATE TABLE correlation_due (indicator INTEGER PRIMARY KEY) STRICT;

-- by_hand: an operator made or edited it, so correlation never lets it go in another. merged_into: where it went
-- (pk). dismissed_at: deleted by an operator; it stays, hidden, so that correlation does not make it again.
-- own_*: what the operator set. severity, tags, mitre_ids, orgs, first_seen, last_activity, iocs: of its members.
CREATE TABLE campaign (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  by_hand INTEGER NOT NULL,
  own_severity INTEGER,
  own_tags TEXT NOT NULL,
  severity INTEGER,
  tags TEXT NOT NULL,
  mitre_ids TEXT NOT NULL,
  orgs TEXT NOT NULL,
  first_seen INTEGER NOT NULL,
  last_activity INTEGER NOT NULL,
  iocs INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  merged_into INTEGER,
  dismissed_at INTEGER
) STRICT;
CREATE INDEX campaign_shown ON campaign (last_activity, pk) WHERE merged_into IS NULL AND dismissed_at IS NULL;

-- by_hand: put there by an operator; correlation takes only its own members out again.
CREATE TABLE campaign_member (
  campaign INTEGER NOT NULL,
  indicator INTEGER NOT NULL,
  by_hand INTEGER NOT NULL,
  joined_at INTEGER NOT NULL,
  PRIMARY KEY (campaign, indicator)
) STRICT, WITHOUT ROWID;
CREATE INDEX campaign_member_by_indicator ON campaign_member (indicator);

-- Indicators an operator took out of a campaign: correlation does not put them back.
CREATE TABLE campaign_ban (
  campaign INTEGER NOT NULL,
  indicator INTEGER NOT NULL,
  PRIMARY KEY (campaign, indicator)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaign_event (
  pk INTEGER PRIMARY KEY,
  campaign INTEGER NOT NULL,
  at INTEGER NOT NULL,
  event TEXT NOT NULL,
  details TEXT NOT NULL
) STRICT;
CREATE INDEX campaign_event_by_campaign ON campaign_event (campaign, at);

-- The server's own state --------------------------------------------------------------------------------------

CREATE TABLE api_key (
  id TEXT PRIMARY KEY,
  lineage TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE,
  mask TEXT NOT NULL,
  scopes TEXT NOT NULL,
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  org TEXT
) STRICT;

-- Removed indicators that were reported very often: their sightings go bit by bit.
CREATE TABLE leftover (indicator INTEGER PRIMARY KEY, type INTEGER NOT NULL) STRICT;

-- Reporters whose contributions up to a time are being withdrawn.
CREATE TABLE withdrawal (reporter INTEGER PRIMARY KEY, until INTEGER NOT NULL) STRICT;

-- What the operator never wants published. value: canonical, a zone as '*.example.org'. unsettled: NULL, or what the
-- stored indicators it covers have yet to be told: 'added' (it is in effect), 'removed' (it no longer is).
CREATE TABLE allowlist (
  pk INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  type INTEGER NOT NULL,
  value TEXT NOT NULL,
  note TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER,
  unsettled TEXT
) STRICT;
CREATE INDEX allowlist_by_expiry ON allowlist (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX allowlist_unsettled ON allowlist (pk) WHERE unsettled IS NOT NULL;

CREATE TABLE agent (
  id TEXT PRIMARY KEY,
  hostname TEXT,
  version TEXT,
  rule_version TEXT,
  last_seen INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
  reporter TEXT NOT NULL,
  key TEXT NOT NULL,
  request_digest BLOB NOT NULL,
  answer BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (reporter, key)
) STRICT, WITHOUT ROWID;

-- What was taken from a reporter's logs, as digests: a log that is read again stores nothing twice.
CREATE TABLE log_entry (
  reporter INTEGER NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (reporter, digest)
) STRICT, WITHOUT ROWID;

-- A chain of keyed digests; the details live beside it, so that they can be erased and the chain still verifies.
CREATE TABLE audit_entry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  action TEXT NOT NULL,
  resource TEXT NOT NULL,
  api_key TEXT NOT NULL,
  ip TEXT NOT NULL,
  details_digest BLOB NOT NULL,
  link BLOB NOT NULL
) STRICT;
CREATE INDEX audit_by_action ON audit_entry (action, seq);
CREATE TABLE audit_detail (
  seq INTEGER PRIMARY KEY,
  salt BLOB NOT NULL,
  details TEXT NOT NULL
) STRICT;

CREATE TABLE import_run (
  id TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  summary TEXT NOT NULL
) STRICT;

CREATE TABLE job_run (
  name TEXT PRIMARY KEY,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
