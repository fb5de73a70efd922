-- Sightings lie in a partition for each month, so that a month is forgotten at once (docs/adr/0028). Those there are stay
-- where they lie, in a partition of their own; the program makes the others (storage/partitions.py) in this transaction.

ALTER TABLE sighting RENAME TO sighting_before;
ALTER TABLE sighting_before RENAME CONSTRAINT sighting_by_indicator TO sighting_before_by_indicator;
ALTER INDEX sighting_by_time RENAME TO sighting_before_by_time;
ALTER INDEX sighting_by_pk RENAME TO sighting_before_by_pk;
ALTER SEQUENCE sighting_pk_seq RENAME TO sighting_before_pk_seq;

CREATE TABLE sighting (LIKE sighting_before INCLUDING IDENTITY) PARTITION BY RANGE (observed_at);
ALTER TABLE sighting ADD CONSTRAINT sighting_by_indicator PRIMARY KEY (indicator, observed_at, pk);
CREATE INDEX sighting_by_time ON sighting (observed_at, indicator) WHERE kind = 'positive';
CREATE INDEX sighting_by_pk ON sighting (pk);
SELECT setval('sighting_pk_seq', last_value, is_called) FROM sighting_before_pk_seq;
ALTER TABLE sighting_before ALTER COLUMN pk DROP IDENTITY;

-- It ends with the month of its newest row. Its indexes are those that the whole asks for, and are not made again.
DO $$
DECLARE
  newest timestamp := (SELECT to_timestamp(max(observed_at) / 1000.0) AT TIME ZONE 'UTC' FROM sighting_before);
  over bigint := extract(epoch FROM (date_trunc('month', newest) + interval '1 month') AT TIME ZONE 'UTC') * 1000;
BEGIN
  IF newest IS NULL THEN
    DROP TABLE sighting_before;
  ELSE
    EXECUTE format('ALTER TABLE sighting ATTACH PARTITION sighting_before FOR VALUES FROM (MINVALUE) TO (%s)', over);
  END IF;
END $$;

-- Whether nobody reads or writes sightings, nor uses these partitions, until the end of the transaction. Whoever reads for
-- long (a dump) is not waited for: all others would wait behind. A vacuum of a partition gives way after a second.
CREATE FUNCTION may_change_partitions(used text) RETURNS boolean LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
BEGIN
  LOCK TABLE ONLY sighting IN ACCESS EXCLUSIVE MODE;
  PERFORM set_config('lock_timeout', '1500ms', true);
  IF used <> '' THEN
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', used);
  END IF;
  RETURN true;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END $$;
