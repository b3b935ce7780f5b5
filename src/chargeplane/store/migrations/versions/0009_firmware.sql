-- Firmware, campaigns, uploads, monitors, events.

ALTER TABLE house_certificate DROP CONSTRAINT house_certificate_role_check;
ALTER TABLE house_certificate ADD CHECK (role IN ('root', 'issuing', 'server', 'firmware'));

-- A file that stations install. The file itself is in the files' folder.
CREATE TABLE firmware (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL REFERENCES tenant,
    name                text NOT NULL,           -- of the file
    vendor              text,                    -- NULL: of any
    model               text,
    version             text NOT NULL,           -- as the station's boot will say
    size_bytes          bigint NOT NULL,
    md5                 text NOT NULL,
    sha256              text NOT NULL,
    signing_certificate text,
    signature           text,
    signed_by           text CHECK (signed_by IN ('maker', 'house')),
    file                text NOT NULL,           -- path within the files' folder
    token               text NOT NULL UNIQUE,    -- unguessable: part of its address
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text NOT NULL,
    deleted_at          timestamptz
);
CREATE INDEX firmware_newest ON firmware (tenant_id, id) WHERE deleted_at IS NULL;

-- A one-time address that a station uploads a file to.
CREATE TABLE upload (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    station_key    bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    purpose        text NOT NULL,                -- diagnostics, security, data_collector
    request_id     integer,
    token_hash     bytea NOT NULL UNIQUE,        -- SHA-256
    max_bytes      bigint NOT NULL,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'receiving', 'received', 'canceled', 'expired', 'deleted')),
    asked_by       text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    name           text,                         -- as the station names the file
    content_type   text,
    size_bytes     bigint,
    sha256         text,
    file           text,                         -- path within the files' folder
    remote_address text,
    attempts       integer NOT NULL DEFAULT 0,
    last_error     text,
    receiving_at   timestamptz,
    received_at    timestamptz
);
CREATE INDEX upload_newest ON upload (tenant_id, id);
CREATE INDEX upload_station ON upload (station_key, id);
CREATE INDEX upload_open ON upload (expires_at) WHERE state IN ('open', 'receiving');
CREATE INDEX upload_received ON upload (received_at) WHERE state = 'received';

CREATE TABLE firmware_campaign (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    firmware_id    bigint NOT NULL REFERENCES firmware,
    name           text NOT NULL,
    plan           jsonb NOT NULL,               -- domain/campaigns.Plan
    state          text NOT NULL CHECK (state IN ('running', 'paused', 'stopped', 'canceled', 'finished')),
    state_reason   text,
    transfer       text,                         -- how the file travels; NULL: as suits each station
    wave           integer NOT NULL DEFAULT 1,   -- stations of this wave and of those before it may be asked
    -- what was over when it was resumed after it had stopped: counts no more
    forgiven_ended  integer NOT NULL DEFAULT 0,
    forgiven_failed integer NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text NOT NULL,
    changed_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    -- one node at a time works on a campaign
    claimed_by     text,
    claimed_until  timestamptz
);
CREATE INDEX firmware_campaign_newest ON firmware_campaign (tenant_id, id);
CREATE INDEX firmware_campaign_working ON firmware_campaign (id) WHERE state IN ('running', 'paused', 'stopped', 'canceled')
    AND finished_at IS NULL;

CREATE TABLE firmware_campaign_station (
    campaign     bigint NOT NULL REFERENCES firmware_campaign ON DELETE CASCADE,
    station_key  bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    tenant_id    integer NOT NULL,
    position     integer NOT NULL,               -- in the order that was chosen
    wave         integer NOT NULL,
    state        text NOT NULL,                  -- domain/campaigns.StationState
    status       text,                           -- the station's last word
    reason       text,
    attempts     integer NOT NULL DEFAULT 0,
    request_ids  integer[] NOT NULL DEFAULT '{}',-- newest last
    asked_by     text,                           -- the claim under which it was asked
    from_version text,
    to_version   text,                           -- as the boot after it said
    not_before   timestamptz,                    -- the next attempt
    asked_at     timestamptz,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    PRIMARY KEY (campaign, station_key)
) WITH (fillfactor = 80);
CREATE INDEX firmware_campaign_station_state ON firmware_campaign_station (campaign, state);
CREATE INDEX firmware_campaign_station_going ON firmware_campaign_station (station_key)
    WHERE state IN ('asking', 'updating', 'installed');

-- Monitors as the stations report them.
CREATE TABLE station_monitor (
    station_key         bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    id                  integer NOT NULL,        -- the station's
    component           text NOT NULL,
    component_instance  text NOT NULL DEFAULT '',
    evse_id             integer NOT NULL DEFAULT 0,
    connector_id        integer NOT NULL DEFAULT 0,
    variable            text NOT NULL,
    variable_instance   text NOT NULL DEFAULT '',
    kind                text NOT NULL,
    value               numeric NOT NULL,
    severity            integer NOT NULL,
    during_transactions boolean NOT NULL DEFAULT false,
    origin              text,                    -- NULL: not told
    reported_at         timestamptz NOT NULL,
    PRIMARY KEY (station_key, id)
);

-- Events that stations told.
CREATE TABLE station_event (
    received_on        date NOT NULL,
    received_at        timestamptz NOT NULL,
    tenant_id          integer NOT NULL,
    station_key        bigint NOT NULL,
    fact_id            bigint NOT NULL,          -- of the outbox: a repeat has the same
    ordinal            integer NOT NULL,         -- within its message
    event_id           integer NOT NULL,         -- the station's
    at                 timestamptz,              -- the station's time
    trigger            text NOT NULL,
    origin             text NOT NULL,
    component          text NOT NULL,
    component_instance text NOT NULL,
    evse_id            integer NOT NULL,
    connector_id       integer NOT NULL,
    variable           text NOT NULL,
    variable_instance  text NOT NULL,
    actual_value       text NOT NULL,
    cleared            boolean NOT NULL,
    transaction_id     text,
    monitor_id         integer,
    severity           integer,
    cause              integer,
    tech_code          text,
    tech_info          text
) PARTITION BY RANGE (received_on);
CREATE UNIQUE INDEX station_event_once ON station_event (station_key, received_on, fact_id, ordinal);
CREATE INDEX station_event_newest ON station_event (station_key, received_at, fact_id, ordinal);
CREATE TABLE station_event_default PARTITION OF station_event DEFAULT;

-- What events weigh, where their severity is not to decide.
CREATE TABLE event_rule (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    position     integer NOT NULL DEFAULT 0,
    component    text NOT NULL DEFAULT '',
    variable     text NOT NULL DEFAULT '',
    tech_code    text NOT NULL DEFAULT '',
    max_severity integer,
    weight       text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_rule_tenant ON event_rule (tenant_id, position, id);

-- What a station told of a customer: read once, then gone.
CREATE TABLE customer_information (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    request_id  integer NOT NULL,
    cleared     boolean NOT NULL DEFAULT false,  -- the station was asked to forget
    complete    boolean NOT NULL DEFAULT false,
    shown_at    timestamptz,
    shown_to    text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customer_information_request ON customer_information (station_key, request_id, id);
CREATE INDEX customer_information_newest ON customer_information (tenant_id, id);
CREATE TABLE customer_information_part (
    information bigint NOT NULL REFERENCES customer_information ON DELETE CASCADE,
    seq_no      integer NOT NULL,
    more        boolean NOT NULL,
    sealed      bytea NOT NULL,                  -- encrypted with the installation key
    PRIMARY KEY (information, seq_no)
);
