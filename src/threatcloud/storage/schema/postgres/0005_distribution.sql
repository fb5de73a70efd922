-- Every unique index of what grows names the indicator, so that a distributed engine can keep each on one shard, and
-- sightings name their time there, so that they can be partitioned by it (docs/adr/0025). Row numbers come from a
-- sequence, and none is given twice.

ALTER TABLE sighting DROP CONSTRAINT sighting_pkey;
DROP INDEX sighting_by_indicator;
ALTER TABLE sighting ADD CONSTRAINT sighting_by_indicator PRIMARY KEY (indicator, observed_at, pk);
CREATE INDEX sighting_by_pk ON sighting (pk);

ALTER TABLE feed_change DROP CONSTRAINT feed_change_pkey, ADD PRIMARY KEY (seq, indicator);
