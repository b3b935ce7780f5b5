-- Charging sessions, CDRs, signed meter values.

-- Transactions that the business has to look at: written with the facts about them, taken by whoever is free.
CREATE TABLE session_work (
    transaction_id bigint PRIMARY KEY,
    tenant_id      integer NOT NULL,
    ticks          bigint NOT NULL DEFAULT 1,    -- raised by every fact: what was looked at before is looked at again
    due_at         timestamptz NOT NULL DEFAULT now(),
    attempts       integer NOT NULL DEFAULT 0,
    error          text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX session_work_due ON session_work (due_at);

-- The business view of a transaction; has its id.
CREATE TABLE charging_session (
    id             bigint PRIMARY KEY,           -- transaction.id
    tenant_id      integer NOT NULL REFERENCES tenant,
    state          text NOT NULL,                -- domain.cdrs.session.SessionState
    location_id    text NOT NULL,
    evse_uid       text NOT NULL,
    connector_id   text,
    station_key    bigint NOT NULL,
    token_key      text,
    driver_id      bigint,
    agreement_id   bigint,
    payment_id     bigint,
    tariff_id      text,
    tariff_version integer,
    frozen         text NOT NULL,                -- JSON: domain.cdrs.session.Frozen
    started_at     timestamptz NOT NULL,
    stopped_at     timestamptz,
    energy_wh      numeric NOT NULL DEFAULT 0,
    currency       text,
    cost_excl      numeric,
    cost_incl      numeric,
    shown_cost     numeric,                      -- what the station was last told to show
    flags          text[] NOT NULL DEFAULT '{}',
    override       text,                         -- JSON: domain.cdrs.session.Override; what a person set
    signed         text,                         -- JSON: domain.cdrs.cdr.SignedSummary
    settle_at      timestamptz,                  -- ended: until when what is missing may come
    rated_at       timestamptz,
    rated_ordinal  integer NOT NULL DEFAULT 0,   -- of the transaction's newest event that was rated
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX charging_session_newest ON charging_session (tenant_id, started_at, id);
CREATE INDEX charging_session_active ON charging_session (tenant_id, id) WHERE state = 'active';
CREATE INDEX charging_session_driver ON charging_session (tenant_id, driver_id, started_at, id) WHERE driver_id IS NOT NULL;
CREATE INDEX charging_session_agreement ON charging_session (tenant_id, agreement_id, started_at, id) WHERE agreement_id IS NOT NULL;
CREATE INDEX charging_session_evse ON charging_session (tenant_id, evse_uid, started_at, id);
CREATE INDEX charging_session_location ON charging_session (tenant_id, location_id, started_at, id);

-- Written once; what was wrong is taken back by a credit and told again by a correction.
CREATE TABLE cdr (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    session_id     bigint NOT NULL,
    kind           text NOT NULL,                -- original, credit, correction
    number         integer NOT NULL,             -- within the session, from 1
    credits        bigint REFERENCES cdr,        -- the CDR that a credit takes back
    created_at     timestamptz NOT NULL DEFAULT now(),
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz NOT NULL,
    location_id    text NOT NULL,
    evse_uid       text NOT NULL,
    token_key      text,
    driver_id      bigint,
    agreement_id   bigint,
    payment_id     bigint,
    tariff_id      text,
    energy_wh      numeric NOT NULL,
    currency       text,
    total_excl     numeric,
    total_incl     numeric,
    holds          text[] NOT NULL,              -- why it is not billed until a person released it
    body           text NOT NULL,                -- JSON: domain.cdrs.cdr.CdrContent
    UNIQUE (session_id, number)
);
CREATE UNIQUE INDEX cdr_credited_once ON cdr (credits) WHERE credits IS NOT NULL;
CREATE INDEX cdr_newest ON cdr (tenant_id, ended_at, id);
CREATE INDEX cdr_driver ON cdr (tenant_id, driver_id, ended_at, id) WHERE driver_id IS NOT NULL;
CREATE INDEX cdr_agreement ON cdr (tenant_id, agreement_id, ended_at, id) WHERE agreement_id IS NOT NULL;
CREATE INDEX cdr_location ON cdr (tenant_id, location_id, ended_at, id);
CREATE INDEX cdr_evse ON cdr (tenant_id, evse_uid, ended_at, id);
CREATE INDEX cdr_token ON cdr (tenant_id, token_key, ended_at, id) WHERE token_key IS NOT NULL;
CREATE INDEX cdr_tariff ON cdr (tenant_id, tariff_id, ended_at, id) WHERE tariff_id IS NOT NULL;
CREATE INDEX cdr_held ON cdr (tenant_id, id) WHERE holds <> '{}';
CREATE FUNCTION cdr_stays() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a CDR is never changed: credit it'; END $$;
CREATE TRIGGER cdr_stays BEFORE UPDATE OR DELETE ON cdr FOR EACH ROW EXECUTE FUNCTION cdr_stays();

-- What CDRs used of what their agreements include.
CREATE TABLE agreement_use (
    cdr_id       bigint NOT NULL REFERENCES cdr,
    agreement_id bigint NOT NULL,
    item         text NOT NULL,                  -- name of the allowance
    used_at      timestamptz NOT NULL,           -- when the session began
    used         numeric NOT NULL,               -- Wh, seconds, sessions or money; negative in a credit
    PRIMARY KEY (cdr_id, item)
);
CREATE INDEX agreement_use_of ON agreement_use (agreement_id, item, used_at);

-- That a held CDR may be billed after all.
CREATE TABLE cdr_release (
    cdr_id      bigint PRIMARY KEY REFERENCES cdr,
    tenant_id   integer NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    released_by text NOT NULL,
    reason      text NOT NULL
);

-- Public keys of stations' meters.
CREATE TABLE meter_public_key (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    station_key   bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    ocpp_evse_id  integer,                       -- NULL: every EVSE of the station
    meter_serial  text,
    curve         text NOT NULL,
    der           bytea NOT NULL,                -- SubjectPublicKeyInfo
    fingerprint   text NOT NULL,
    source        text NOT NULL,                 -- operator, station
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz
);
CREATE INDEX meter_public_key_station ON meter_public_key (station_key) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX meter_public_key_once ON meter_public_key (station_key, coalesce(ocpp_evse_id, 0), fingerprint)
    WHERE retired_at IS NULL;

-- What came of verifying the signed values of a session, as received, by transaction_event.
CREATE TABLE signed_meter_value (
    session_id  bigint NOT NULL,
    place       integer NOT NULL,                -- within the session, in order of arrival
    tenant_id   integer NOT NULL,
    ordinal     integer NOT NULL,                -- of the transaction's event it came with
    data        text NOT NULL,
    verdict     text NOT NULL,                   -- domain.ocmf.Verdict
    because     text NOT NULL,
    key_id      bigint,
    verified_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, place)
);
