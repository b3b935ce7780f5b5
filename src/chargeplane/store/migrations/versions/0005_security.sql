-- Security events, certificates on stations, changes of passwords and security profiles, generations of the house's authority.

ALTER TABLE charging_station ADD COLUMN password_set_at timestamptz;

-- What stations report and what the doors see. Rows with a bucket gather what comes again within an hour, so that nobody fills
-- the table by trying.
CREATE TABLE security_event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    station_key    bigint,                        -- NULL where it concerns no registered station
    source         text NOT NULL,                 -- station, server
    type           text NOT NULL,
    severity       text NOT NULL,                 -- info, notice, critical
    at             timestamptz,                   -- the station's time
    received_at    timestamptz NOT NULL DEFAULT now(),
    last_at        timestamptz NOT NULL DEFAULT now(),
    hits           bigint NOT NULL DEFAULT 1,
    info           text,
    remote_address text,
    details        text NOT NULL DEFAULT '{}',    -- JSON
    bucket         timestamptz,
    fact_id        bigint UNIQUE                  -- of the report, so that its repeat makes no second row
);
CREATE INDEX security_event_newest ON security_event (tenant_id, id);
CREATE INDEX security_event_station ON security_event (station_key, id);
CREATE INDEX security_event_type ON security_event (tenant_id, type, id);
CREATE INDEX security_event_severity ON security_event (tenant_id, severity, id);
CREATE UNIQUE INDEX security_event_bucket ON security_event (tenant_id, coalesce(station_key, 0), source, type, bucket)
    WHERE bucket IS NOT NULL;

-- What a station says it has, by its last answers; and what is known of it besides its hashes.
CREATE TABLE installed_certificate (
    station_key      bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    use              text NOT NULL,               -- OCPP 2.1 words
    hash_algorithm   text NOT NULL,
    issuer_name_hash text NOT NULL,
    issuer_key_hash  text NOT NULL,
    serial_number    text NOT NULL,
    below            text NOT NULL DEFAULT '',    -- serial number of the certificate that begins its chain
    subject          text,
    not_after        timestamptz,
    reported_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station_key, use, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number)
);
CREATE TABLE installed_listing (
    station_key bigint PRIMARY KEY REFERENCES charging_station ON DELETE CASCADE,
    listed_at   timestamptz NOT NULL
);

-- A password or a security profile that a station is being given. While is_taken, what is next is good at the door beside what
-- is registered.
CREATE TABLE credential_change (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        integer NOT NULL REFERENCES tenant,
    station_key      bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    kind             text NOT NULL CHECK (kind IN ('password', 'profile')),
    state            text NOT NULL,
    reason           text,
    is_taken         boolean NOT NULL,
    password_salt    bytea,
    password_hash    bytea,
    password_key_id  text,
    sealed           bytea,                       -- the password, encrypted, for as long as it may have to be sent
    from_profile     smallint NOT NULL,
    security_profile smallint,                    -- the next one; NULL for a mere password
    plan             text NOT NULL DEFAULT '{}',  -- JSON
    steps            text NOT NULL DEFAULT '[]',  -- JSON: what was done, and when
    returns          integer NOT NULL DEFAULT 0,  -- times it came back by the old way after it had agreed
    attempts         integer NOT NULL DEFAULT 0,
    requested_by     text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    agreed_at        timestamptz,
    finished_at      timestamptz,
    expires_at       timestamptz NOT NULL,
    next_at          timestamptz NOT NULL DEFAULT now(),
    lease_until      timestamptz
);
CREATE UNIQUE INDEX credential_change_taken ON credential_change (station_key) WHERE is_taken;
CREATE UNIQUE INDEX credential_change_open ON credential_change (station_key) WHERE finished_at IS NULL;
CREATE INDEX credential_change_due ON credential_change (next_at) WHERE finished_at IS NULL;
CREATE INDEX credential_change_station ON credential_change (station_key, id);
CREATE INDEX credential_change_newest ON credential_change (tenant_id, id);

-- The authority of the house, generation after generation: a new root is brought to the stations before the server shows a
-- certificate that leads to it.
CREATE TABLE authority_generation (
    number       integer PRIMARY KEY,
    state        text NOT NULL CHECK (state IN ('next', 'current', 'old', 'retired')),
    crossed      text,                            -- PEM: its root's key, signed by the root before
    made_at      timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    retired_at   timestamptz
);
CREATE UNIQUE INDEX authority_generation_one ON authority_generation (state) WHERE state IN ('next', 'current');
ALTER TABLE house_certificate ADD COLUMN generation integer NOT NULL DEFAULT 1;
INSERT INTO authority_generation (number, state, activated_at)
    SELECT 1, 'current', now() WHERE EXISTS (SELECT FROM house_certificate WHERE role = 'root');

CREATE TABLE authority_rollout (
    generation  integer NOT NULL REFERENCES authority_generation,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    state       text NOT NULL,                    -- asked, installed, refused
    reason      text,
    attempts    integer NOT NULL DEFAULT 0,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (generation, station_key)
);

ALTER TABLE certificate ADD COLUMN renewal_asked_at timestamptz;
ALTER TABLE certificate ADD COLUMN warned_at timestamptz;
