-- Performance, the work list, webhooks.

CREATE TABLE webhook_endpoint (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL REFERENCES tenant,
    url                 text NOT NULL,
    event_types         text[] NOT NULL,         -- as transaction.ended, transaction.*, *
    description         text,
    enabled             boolean NOT NULL DEFAULT true,
    disabled_because    text,                    -- where we did it
    secret              bytea NOT NULL,          -- encrypted with the installation key, purpose `webhook <id>`
    previous_secret     bytea,
    previous_until      timestamptz,             -- until then both sign
    failing_since       timestamptz,             -- of its first failure since the last success
    failures            integer NOT NULL DEFAULT 0, -- in a row
    paused_until        timestamptz,             -- the circuit is open
    leased_by           text,
    leased_until        timestamptz,             -- one process at a time delivers to an endpoint
    revision            integer NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_endpoint_tenant ON webhook_endpoint (tenant_id, id);

-- What happened, of tenants with endpoints: what can be replayed.
CREATE TABLE webhook_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL,
    type       text NOT NULL,
    key        text NOT NULL,                    -- the resource: in order per key
    payload    text NOT NULL,                    -- JSON
    at         timestamptz NOT NULL DEFAULT now(),
    fact_id    bigint                            -- of the outbox, where it was one: a repeat has the same
);
CREATE UNIQUE INDEX webhook_event_fact ON webhook_event (fact_id) WHERE fact_id IS NOT NULL;
CREATE INDEX webhook_event_newest ON webhook_event (tenant_id, id);
CREATE INDEX webhook_event_at ON webhook_event (tenant_id, at, id);
CREATE INDEX webhook_event_aging ON webhook_event (at);

CREATE TABLE webhook_delivery (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    event_id    bigint NOT NULL REFERENCES webhook_event ON DELETE CASCADE,
    key         text NOT NULL,
    state       text NOT NULL DEFAULT 'pending', -- domain.webhooks.DeliveryState
    attempts    integer NOT NULL DEFAULT 0,      -- since it was made or retried by hand
    next_at     timestamptz NOT NULL DEFAULT now(),
    replay      boolean NOT NULL DEFAULT false,  -- asked for by hand
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    status      integer,                         -- of the last attempt
    error       text
) WITH (fillfactor = 70);
CREATE INDEX webhook_delivery_pending ON webhook_delivery (endpoint_id, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_ahead ON webhook_delivery (endpoint_id, key, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_newest ON webhook_delivery (tenant_id, id);
CREATE INDEX webhook_delivery_endpoint ON webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_failed ON webhook_delivery (endpoint_id, id) WHERE state = 'failed';
CREATE INDEX webhook_delivery_event ON webhook_delivery (event_id);

CREATE TABLE webhook_attempt (
    delivery_id bigint NOT NULL REFERENCES webhook_delivery ON DELETE CASCADE,
    number      integer NOT NULL,                -- over the delivery's whole life
    at          timestamptz NOT NULL,
    status      integer,                         -- NULL: there was no answer
    latency_ms  double precision NOT NULL,
    answer      text,                            -- its beginning
    error       text,
    PRIMARY KEY (delivery_id, number)
);

-- What state an EVSE was in, from when until when; written off the path of messages by looking at what stations told last.
CREATE TABLE evse_availability (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id     integer NOT NULL,
    state       text NOT NULL,                   -- domain.performance.figures.EvseState
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,                     -- NULL: it is in it
    CHECK (ended_at >= started_at)
);
CREATE UNIQUE INDEX evse_availability_now ON evse_availability (station_key, evse_id) WHERE ended_at IS NULL;
CREATE INDEX evse_availability_station ON evse_availability (station_key, started_at);

-- Time that does not count against uptime.
CREATE TABLE performance_exclusion (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    kind        text NOT NULL,                   -- domain.performance.figures.ExclusionKind
    station_key bigint REFERENCES charging_station ON DELETE CASCADE, -- NULL: a location, or everything
    evse_id     integer,                         -- NULL: all of the station
    location_id text,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    note        text,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at > starts_at)
);
CREATE INDEX performance_exclusion_newest ON performance_exclusion (tenant_id, id);

-- One row an EVSE and UTC day; EVSE 0 holds what is the whole station's.
CREATE TABLE performance_day (
    tenant_id   integer NOT NULL,
    day         date NOT NULL,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id     integer NOT NULL,
    location_id text,
    model       text,
    firmware    text,
    observed_s  double precision NOT NULL,
    down_s      double precision NOT NULL,
    excluded_s  double precision NOT NULL,
    occupied_s  double precision NOT NULL,
    repairs     integer NOT NULL,
    repair_s    double precision NOT NULL,
    attempts    integer NOT NULL,
    successes   integer NOT NULL,
    sessions    integer NOT NULL,
    energy_wh   numeric NOT NULL,
    revenue     jsonb NOT NULL DEFAULT '{}',     -- currency: amount without taxes
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, day, station_key, evse_id)
);
CREATE INDEX performance_day_station ON performance_day (station_key, day);

-- Days to be computed, again or for the first time.
CREATE TABLE performance_due (
    tenant_id integer NOT NULL,
    day       date NOT NULL,
    ticks     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, day)
);

-- What needs a person. One row a cause while it lasts; a cause that comes again is a new one.
CREATE TABLE work_item (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    kind          text NOT NULL,                 -- domain.work_list.WorkKind
    station_key   bigint REFERENCES charging_station ON DELETE CASCADE,
    evse_id       integer,
    ident         text NOT NULL DEFAULT '',
    title         text NOT NULL,
    details       jsonb NOT NULL DEFAULT '{}',
    state         text NOT NULL DEFAULT 'seen',  -- domain.work_list.WorkState
    risk          numeric NOT NULL DEFAULT 0,    -- revenue a day
    currency      text,
    risk_wh       numeric NOT NULL DEFAULT 0,    -- energy a day
    assignee      text,
    snoozed_until timestamptz,
    seen_at       timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz
);
CREATE UNIQUE INDEX work_item_open ON work_item (tenant_id, kind, coalesce(station_key, 0), coalesce(evse_id, 0), ident)
    WHERE resolved_at IS NULL;
CREATE INDEX work_item_rank ON work_item (tenant_id, risk, risk_wh, id) WHERE resolved_at IS NULL;
CREATE INDEX work_item_newest ON work_item (tenant_id, id);

CREATE TABLE work_item_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    work_item_id bigint NOT NULL REFERENCES work_item ON DELETE CASCADE,
    at           timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    what         text NOT NULL,                  -- seen, acknowledged, assigned, snoozed, noted, acted, resolved
    note         text
);
CREATE INDEX work_item_event_item ON work_item_event (work_item_id, id);
