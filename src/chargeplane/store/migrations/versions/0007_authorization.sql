-- Local lists, reservations, rules of id tokens, what is asked of transactions.

ALTER TABLE id_token
    ADD COLUMN rules     jsonb,                  -- domain.token_rules.TokenRules; NULL: none
    ADD COLUMN credit_wh numeric,                -- what is left of a prepaid account; NULL: it is none
    ADD COLUMN credit    numeric;                -- the same in money

-- Rises with every change of a tenant's id tokens: who keeps something made of them looks here.
CREATE TABLE id_token_clock (
    tenant_id integer PRIMARY KEY REFERENCES tenant,
    ticks     bigint NOT NULL DEFAULT 1
);
CREATE FUNCTION id_token_tick() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO id_token_clock (tenant_id) SELECT DISTINCT tenant_id FROM changed ORDER BY 1
    ON CONFLICT (tenant_id) DO UPDATE SET ticks = id_token_clock.ticks + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER id_token_added AFTER INSERT ON id_token REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION id_token_tick();
-- What a transaction took of an account is no change: nothing is made of how much is left, and every prepaid transaction would be one.
CREATE FUNCTION id_token_tick_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO id_token_clock (tenant_id) SELECT DISTINCT n.tenant_id FROM changed n JOIN before o ON o.id = n.id
    WHERE to_jsonb(n) - '{credit_wh,credit,updated_at}'::text[] <> to_jsonb(o) - '{credit_wh,credit,updated_at}'::text[]
        OR (n.credit_wh IS NULL) <> (o.credit_wh IS NULL) OR (n.credit IS NULL) <> (o.credit IS NULL) ORDER BY 1
    ON CONFLICT (tenant_id) DO UPDATE SET ticks = id_token_clock.ticks + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER id_token_altered AFTER UPDATE ON id_token REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION id_token_tick_changed();
CREATE TRIGGER id_token_removed AFTER DELETE ON id_token REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION id_token_tick();

-- What each station holds of its local list, as far as it acknowledged it.
CREATE TABLE station_local_list (
    station_key       bigint PRIMARY KEY REFERENCES charging_station ON DELETE CASCADE,
    version           integer NOT NULL DEFAULT 0,
    entries           text NOT NULL DEFAULT '{}', -- JSON: fingerprint by key (domain.local_lists.Held)
    entry_count       integer NOT NULL DEFAULT 0,
    wanted_count      integer NOT NULL DEFAULT 0,
    left_out          integer NOT NULL DEFAULT 0, -- tokens that had no room or do not fit the version
    state             text NOT NULL,              -- in_sync, pending, failed, unsupported, disabled
    reason            text,
    reported_version  integer,                    -- what the station last said
    max_entries       integer,
    items_per_message integer,
    checked_at        timestamptz,
    sent_at           timestamptz,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reservation (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL REFERENCES tenant,
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    ocpp_reservation_id integer NOT NULL,
    evse_id             integer,                  -- NULL: any
    connector_type      text,
    id_token            text NOT NULL,
    id_token_type       text,
    group_id            text,
    valid_from          timestamptz NOT NULL DEFAULT now(),
    valid_until         timestamptz NOT NULL,
    state               text NOT NULL,            -- domain.reservations.ReservationState
    reason              text,
    transaction_id      bigint,                   -- that used it
    requested_by        text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (valid_until > valid_from)
);
CREATE INDEX reservation_newest ON reservation (tenant_id, id);
CREATE INDEX reservation_token ON reservation (tenant_id, lower(id_token), id);
CREATE INDEX reservation_number ON reservation (station_key, ocpp_reservation_id, id);
CREATE INDEX reservation_standing ON reservation (valid_until) WHERE state IN ('requested', 'accepted');

-- What an operator wants of the availability of a station, an EVSE or a connector.
CREATE TABLE wanted_availability (
    station_key  bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id      integer NOT NULL,                -- 0: the whole station
    connector_id integer NOT NULL,                -- 0: the whole EVSE
    operative    boolean NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    sent_again   integer NOT NULL DEFAULT 0,
    sent_at      timestamptz,
    PRIMARY KEY (station_key, evse_id, connector_id)
);

-- Transactions with limits, and what they took of a prepaid account.
CREATE TABLE transaction_limit (
    transaction_id bigint PRIMARY KEY,
    tenant_id      integer NOT NULL,
    station_key    bigint NOT NULL,
    limits         jsonb NOT NULL,                -- domain.messages.TransactionLimits
    id_token_id    bigint,                        -- whose account it takes from
    booked_wh      numeric NOT NULL DEFAULT 0,
    reached        text,                          -- energy, time, soc
    stop_asked_at  timestamptz,
    over_at        timestamptz,                   -- NULL while it is open
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX transaction_limit_open ON transaction_limit (station_key) WHERE over_at IS NULL;
CREATE INDEX transaction_limit_over ON transaction_limit (over_at) WHERE over_at IS NOT NULL;

-- What a station said when it was asked about a transaction.
CREATE TABLE transaction_inquiry (
    transaction_id    bigint PRIMARY KEY,
    reason            text NOT NULL,              -- gap, reconnect, silence
    asked_at          timestamptz NOT NULL,
    times             integer NOT NULL DEFAULT 1,
    ongoing           boolean,
    messages_in_queue boolean,
    answer            text NOT NULL               -- waiting, kept, complete, closed, unknown
);
