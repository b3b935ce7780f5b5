-- The device model and configuration templates.

-- Values that stations of a kind are to have.
CREATE TABLE configuration_template (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    name           text NOT NULL,
    description    text,
    version        integer NOT NULL DEFAULT 1,    -- the one in force
    selector       jsonb NOT NULL,                -- domain.configuration.Selector
    priority       integer NOT NULL DEFAULT 0,
    apply          text NOT NULL,                 -- auto, manual
    wave_size      integer NOT NULL,
    reset          text NOT NULL,                 -- none, on_idle, immediate
    stop_after     integer NOT NULL,              -- failures in a row that pause it
    failures       integer NOT NULL DEFAULT 0,    -- in a row
    paused_because text,                          -- NULL: it is not paused
    revision       integer NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    checked_at     timestamptz,                   -- when its stations were last gone through
    deleted_at     timestamptz
);
CREATE UNIQUE INDEX configuration_template_name ON configuration_template (tenant_id, lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE configuration_template_version (
    template_id bigint NOT NULL REFERENCES configuration_template ON DELETE CASCADE,
    version     integer NOT NULL,
    variables   jsonb NOT NULL,                   -- domain.variables.VariableSetting[]; secret values are hidden
    sealed      bytea,                            -- the secret values, encrypted with the installation key
    note        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    PRIMARY KEY (template_id, version)
);

-- How far a station is from what a template wants.
CREATE TABLE configuration_drift (
    template_id   bigint NOT NULL REFERENCES configuration_template ON DELETE CASCADE,
    station_key   bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    version       integer NOT NULL,
    state         text NOT NULL,                  -- in_sync, drifted, unknown, rejected
    to_apply      boolean NOT NULL,               -- a change would be of use
    variables     jsonb NOT NULL,                 -- domain.configuration.Standing[]
    wanted        boolean NOT NULL DEFAULT false, -- an operator wants it applied now
    attempts      integer NOT NULL DEFAULT 0,
    next_apply_at timestamptz,                    -- NULL: at once
    asked_at      timestamptz,                    -- when the station was last asked for these values
    checked_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (template_id, station_key)
) WITH (fillfactor = 70);
CREATE INDEX configuration_drift_station ON configuration_drift (station_key);
CREATE INDEX configuration_drift_state ON configuration_drift (template_id, state, station_key);
CREATE INDEX configuration_drift_to_apply ON configuration_drift (template_id) WHERE to_apply;

-- Variables of a station that are being changed, one after the other.
CREATE TABLE variable_change (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        integer NOT NULL REFERENCES tenant,
    station_key      bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    template_id      bigint REFERENCES configuration_template ON DELETE CASCADE,
    template_version integer,
    requested_by     text NOT NULL,
    state            text NOT NULL,               -- pending, running, succeeded, partly, failed, cancelled
    variables        jsonb NOT NULL,              -- domain.configuration.ChangeItem[]; secret values are hidden
    sealed           bytea,                       -- the secret values, encrypted; NULL when it has ended
    reset            text NOT NULL,
    patience_s       double precision NOT NULL,   -- how long the station is waited for
    reason           text,
    claim            uuid,                        -- of the process that works on it
    claimed_until    timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz
);
CREATE INDEX variable_change_open ON variable_change (station_key, id) WHERE finished_at IS NULL;
CREATE INDEX variable_change_station ON variable_change (station_key, id);
CREATE INDEX variable_change_template ON variable_change (template_id, id) WHERE template_id IS NOT NULL;

-- When a station was last asked for all of its variables, for which firmware, and when that is due again.
CREATE TABLE device_model_reading (
    station_key      bigint PRIMARY KEY REFERENCES charging_station ON DELETE CASCADE,
    firmware_version text,
    asked_at         timestamptz NOT NULL DEFAULT now(),
    complete_at      timestamptz
);

-- What the station told beyond its status word: JSON, free of versions.
ALTER TABLE command ADD COLUMN reply text;
