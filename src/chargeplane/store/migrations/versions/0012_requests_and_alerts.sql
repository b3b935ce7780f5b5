-- What stations report on request, and alerts.

-- Numbers by which stations tell what a message of theirs follows from.
CREATE SEQUENCE station_request_id_seq AS integer MINVALUE 1 CYCLE;

-- Something a station was asked for and tells about in later messages; or tells by itself, under a number we never gave.
CREATE TABLE station_request (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    kind        text NOT NULL,                   -- base_report, log, firmware, ...
    request_id  integer,                         -- as the station names it; NULL where the version has none
    asked_by    text NOT NULL,                   -- 'station' where nobody asked
    detail      jsonb NOT NULL DEFAULT '{}',     -- what was asked for
    state       text NOT NULL,                   -- waiting, receiving, complete, incomplete, failed
    status      text,                            -- the station's last word
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX station_request_number ON station_request (station_key, kind, request_id, id);
CREATE INDEX station_request_station ON station_request (station_key, id);
CREATE INDEX station_request_newest ON station_request (tenant_id, id);

-- The parts of a report, and each status of something that goes on, in the order of arrival.
CREATE TABLE station_request_part (
    request  bigint NOT NULL REFERENCES station_request ON DELETE CASCADE,
    fact_id  bigint NOT NULL,                    -- of the outbox: a repeat has the same
    seq_no   integer,
    more     boolean NOT NULL DEFAULT false,
    status   text,
    items    jsonb NOT NULL DEFAULT '[]',
    at       timestamptz NOT NULL,
    PRIMARY KEY (request, fact_id)
);

CREATE TABLE alert (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    station_key     bigint REFERENCES charging_station ON DELETE CASCADE,
    kind            text NOT NULL,
    ident           text NOT NULL DEFAULT '',    -- tells alerts of one kind of one station apart
    severity        text NOT NULL,               -- critical, warning, info
    title           text NOT NULL,
    details         jsonb NOT NULL DEFAULT '{}',
    hits            bigint NOT NULL DEFAULT 1,
    first_at        timestamptz NOT NULL DEFAULT now(),
    last_at         timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    cleared_at      timestamptz,
    cleared_because text
);
CREATE UNIQUE INDEX alert_standing ON alert (tenant_id, coalesce(station_key, 0), kind, ident) WHERE cleared_at IS NULL;
CREATE INDEX alert_newest ON alert (tenant_id, id);
CREATE INDEX alert_station ON alert (station_key) WHERE station_key IS NOT NULL;
