-- Charging profiles at stations.

-- What each station was asked to hold, and what it says it holds.
CREATE TABLE charging_profile (
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    id                  integer NOT NULL,            -- unique on the station
    tenant_id           integer NOT NULL,
    origin              text NOT NULL,               -- operator, static_limit, planner; station: seen there, set by others
    source              text NOT NULL DEFAULT 'CSO', -- charging limit source
    purpose             text NOT NULL,
    evse_id             integer NOT NULL,
    stack_level         integer NOT NULL,
    ocpp_transaction_id text,
    profile             text NOT NULL,               -- JSON: domain.charging_profiles.ChargingProfile
    sent                text,                        -- the same, where the station got another one
    changes             text[] NOT NULL DEFAULT '{}', -- how that one differs, in sentences
    state               text NOT NULL,               -- wanted, installed, refused, removing, removed
    reason              text,
    revision            integer NOT NULL DEFAULT 1,
    attempts            integer NOT NULL DEFAULT 0,
    retry_at            timestamptz NOT NULL DEFAULT now(),
    set_by              text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    installed_at        timestamptz,
    confirmed_at        timestamptz,                 -- last reported by the station
    seen_request        integer,                     -- the report it was last in
    PRIMARY KEY (station_key, id)
);
CREATE INDEX charging_profile_due ON charging_profile (retry_at) WHERE state IN ('wanted', 'removing');
CREATE INDEX charging_profile_of_transaction ON charging_profile (station_key) WHERE purpose = 'TxProfile' AND state <> 'removed';
CREATE INDEX charging_profile_newest ON charging_profile (tenant_id, station_key);

-- Stations that hold profiles: who settles them now, and as of which boot they are known to be there.
CREATE TABLE smart_charging_station (
    station_key   bigint PRIMARY KEY REFERENCES charging_station ON DELETE CASCADE,
    tenant_id     integer NOT NULL,
    checked_at    timestamptz,
    check_request integer,
    claimed_until timestamptz
);

-- What external systems allow, as stations tell.
CREATE TABLE charging_limit (
    station_key      bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id          integer NOT NULL,               -- 0: the whole station
    source           text NOT NULL,
    schedules        text NOT NULL,                  -- JSON: domain ChargingSchedule[]
    grid_critical    boolean,
    local_generation boolean,
    told_at          timestamptz NOT NULL,
    cleared_at       timestamptz,
    PRIMARY KEY (station_key, evse_id, source)
);

-- What electric vehicles told of their needs, and what they were answered.
CREATE TABLE ev_charging_need (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL,
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id             integer NOT NULL,
    transaction_id      bigint,
    ocpp_transaction_id text,
    needs               text NOT NULL,               -- JSON: domain EvChargingNeeds
    answer              text NOT NULL,
    reason              text,
    profile_id          integer,
    received_at         timestamptz NOT NULL
);
CREATE INDEX ev_charging_need_station ON ev_charging_need (station_key, id);

CREATE TABLE ev_charging_schedule (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL,
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id             integer NOT NULL,
    transaction_id      bigint,
    ocpp_transaction_id text,
    schedule            text NOT NULL,               -- JSON: domain EvChargingSchedule
    accepted            boolean NOT NULL,
    reason              text,
    received_at         timestamptz NOT NULL
);
CREATE INDEX ev_charging_schedule_station ON ev_charging_schedule (station_key, id);

-- How a transaction's vehicle may transfer energy, where somebody said so, and whether it charges with priority.
CREATE TABLE transaction_charging (
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    ocpp_transaction_id text NOT NULL,
    allowed             text[],
    priority            boolean NOT NULL DEFAULT false,
    renegotiations      integer NOT NULL DEFAULT 0,
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station_key, ocpp_transaction_id)
);

-- Limits that are kept on stations for when they are alone.
CREATE TABLE static_limit (
    station_key   bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    evse_id       integer NOT NULL,                  -- 0: the whole station
    set_for       text NOT NULL,                     -- station, location
    tenant_id     integer NOT NULL,
    limit_value   numeric NOT NULL,
    unit          text NOT NULL,
    set_by        text NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station_key, evse_id, set_for)
);

CREATE TABLE location_limit (
    tenant_id   integer NOT NULL REFERENCES tenant,
    location_id text NOT NULL,
    limit_value numeric NOT NULL,
    unit        text NOT NULL,
    rule        text NOT NULL,                       -- equal, by_evses
    set_by      text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, location_id)
);

-- What a model was seen to refuse of charging profiles.
CREATE TABLE charging_dialect (
    tenant_id  integer NOT NULL REFERENCES tenant,
    vendor     text NOT NULL,
    model      text NOT NULL,
    firmware   text NOT NULL,
    trait      text NOT NULL,
    hits       bigint NOT NULL DEFAULT 1,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    station_id text,                                 -- where it was last seen
    PRIMARY KEY (tenant_id, vendor, model, firmware, trait)
);

CREATE TABLE der_control (
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    id          text NOT NULL,
    tenant_id   integer NOT NULL,
    type        text NOT NULL,
    is_default  boolean NOT NULL,
    control     text,                                -- JSON: domain DerControl; NULL where others set it
    reported    text,                                -- JSON: its settings as the station reports them
    state       text NOT NULL,                       -- wanted, installed, refused, removed
    reason      text,
    superseded  boolean NOT NULL DEFAULT false,
    active      boolean,                             -- of scheduled ones
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station_key, id)
);

CREATE TABLE der_event (
    fact_id     bigint NOT NULL,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    tenant_id   integer NOT NULL,
    kind        text NOT NULL,                       -- alarm, alarm_ended, started, stopped
    subject     text NOT NULL,                       -- the control's type or id
    fault       text,
    info        text,
    at          timestamptz,                         -- the station's time
    received_at timestamptz NOT NULL,
    PRIMARY KEY (station_key, fact_id)
);
