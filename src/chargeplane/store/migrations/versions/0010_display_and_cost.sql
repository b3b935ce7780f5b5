-- Display messages, tariffs and costs at stations.

-- Messages we want on a station's display, and those a station says it has.
CREATE TABLE display_message (
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    id          integer NOT NULL,                -- within the station
    tenant_id   integer NOT NULL REFERENCES tenant,
    message     jsonb NOT NULL,
    state       text NOT NULL,                   -- sending, shown, refused, clearing, gone
    by_us       boolean NOT NULL,                -- false: the station had it by itself
    reason      text,                            -- why it is refused
    changed_by  text,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz,                     -- when the station last said that it has it
    PRIMARY KEY (station_key, id)
);

-- Default tariffs we want a station to calculate with (OCPP 2.1).
CREATE TABLE station_tariff (
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id     integer NOT NULL,                -- 0: everywhere
    tenant_id   integer NOT NULL REFERENCES tenant,
    tariff_id   text NOT NULL,
    tariff      jsonb NOT NULL,
    state       text NOT NULL,                   -- sending, set, refused
    reason      text,
    changed_by  text,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station_key, evse_id)
);

-- Batteries given and taken (OCPP 2.1 S03).
CREATE TABLE battery_swap (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    request_id  integer NOT NULL,
    id_token    text NOT NULL,
    id_token_type text,
    batteries_in  jsonb NOT NULL DEFAULT '[]',
    batteries_out jsonb NOT NULL DEFAULT '[]',
    state       text NOT NULL,                   -- in, complete, not_taken
    in_at       timestamptz,
    out_at      timestamptz,
    facts       bigint[] NOT NULL DEFAULT '{}'   -- of the outbox: a repeat has the same
);
CREATE INDEX battery_swap_request ON battery_swap (station_key, request_id, id);
CREATE INDEX battery_swap_newest ON battery_swap (tenant_id, id);

-- Streams of periodic values (OCPP 2.1 N11 to N15).
CREATE TABLE event_stream (
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    id          integer NOT NULL,
    tenant_id   integer NOT NULL REFERENCES tenant,
    monitor_id  integer NOT NULL,
    interval_s  integer,
    max_values  integer,
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz,
    last_at     timestamptz,
    last_value  text,
    pending     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (station_key, id)
);

CREATE TABLE event_stream_value (
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    stream_id   integer NOT NULL,
    at          timestamptz NOT NULL,
    place       integer NOT NULL,                -- tells values of one moment apart
    fact_id     bigint NOT NULL,
    value       text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (station_key, stream_id, at, fact_id, place)
);
CREATE INDEX event_stream_value_age ON event_stream_value (received_at);

-- Payments at a station's own terminal (OCPP 2.1 C18 to C25).
CREATE TABLE settlement (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    psp_ref     text NOT NULL,
    ocpp_transaction_id text,
    status      text NOT NULL,                   -- Settled, Canceled, Rejected, Failed
    amount      numeric NOT NULL,
    settled_at  timestamptz,
    received_at timestamptz NOT NULL,
    info        text,
    receipt_id  text,
    receipt_url text,
    vat_number  text,
    company     jsonb
);
CREATE UNIQUE INDEX settlement_once ON settlement (station_key, psp_ref, status, coalesce(ocpp_transaction_id, ''), amount);
CREATE INDEX settlement_newest ON settlement (tenant_id, id);
