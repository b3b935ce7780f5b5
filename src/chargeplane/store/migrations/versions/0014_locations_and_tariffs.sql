-- Locations, EVSEs and tariffs.

-- What is described stands as JSON in `body`; columns hold what is looked for. Ids are text, unique without case within the tenant.
CREATE TABLE location (
    key         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    id          text NOT NULL,
    body        text NOT NULL,                  -- JSON: domain.locations.model.LocationContent
    country     text NOT NULL,                  -- ISO 3166-1 alpha-3
    time_zone   text NOT NULL,
    publish     boolean NOT NULL,
    place       point NOT NULL,                 -- (longitude, latitude)
    revision    integer NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,
    search      text NOT NULL
);
CREATE UNIQUE INDEX location_id ON location (tenant_id, lower(id)) WHERE deleted_at IS NULL;
CREATE INDEX location_newest ON location (tenant_id, key) WHERE deleted_at IS NULL;
CREATE INDEX location_place ON location USING gist (place) WHERE deleted_at IS NULL;

CREATE TABLE evse (
    key             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    location_key    bigint NOT NULL REFERENCES location,
    uid             text NOT NULL,
    code            text NOT NULL UNIQUE,       -- in the QR code on it: public, not to be guessed
    station_key     bigint REFERENCES charging_station,
    ocpp_evse_id    integer,
    evse_id         text,
    payment_methods text[] NOT NULL DEFAULT '{}',
    body            text NOT NULL,              -- JSON: domain.locations.model.EvseContent
    made_from_report boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    revision        integer NOT NULL DEFAULT 1,
    removed_at      timestamptz,                -- an EVSE is never deleted: its uid is not given again
    CHECK ((station_key IS NULL) = (ocpp_evse_id IS NULL))
);
CREATE UNIQUE INDEX evse_uid ON evse (tenant_id, lower(uid));
CREATE UNIQUE INDEX evse_bound ON evse (station_key, ocpp_evse_id) WHERE removed_at IS NULL AND station_key IS NOT NULL;
CREATE INDEX evse_location ON evse (location_key, key);
CREATE INDEX evse_evse_id ON evse (tenant_id, lower(evse_id)) WHERE evse_id IS NOT NULL;

CREATE TABLE evse_connector (
    evse_key          bigint NOT NULL REFERENCES evse,
    id                text NOT NULL,
    tenant_id         integer NOT NULL,
    ocpp_connector_id integer NOT NULL,
    standard          text NOT NULL,
    power_type        text NOT NULL,
    power_w           integer NOT NULL,
    tariff_ids        text[] NOT NULL DEFAULT '{}',
    body              text NOT NULL,            -- JSON: domain.locations.model.ConnectorContent
    assumed           boolean NOT NULL DEFAULT false, -- nobody described it yet
    revision          integer NOT NULL DEFAULT 1,
    updated_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (evse_key, id),
    UNIQUE (evse_key, ocpp_connector_id)
);
CREATE INDEX evse_connector_tariffs ON evse_connector USING gin (tariff_ids);

CREATE TABLE tariff (
    key         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    id          text NOT NULL,
    name        text,
    currency    text NOT NULL,
    type        text,
    version     integer NOT NULL,               -- the newest
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    revision    integer NOT NULL DEFAULT 1,
    retired_at  timestamptz,                    -- no session begins with it from then on
    search      text NOT NULL
);
CREATE UNIQUE INDEX tariff_id ON tariff (tenant_id, lower(id));
CREATE INDEX tariff_newest ON tariff (tenant_id, key);

-- Never changed once written: sessions freeze a version.
CREATE TABLE tariff_version (
    tariff_key  bigint NOT NULL REFERENCES tariff ON DELETE CASCADE,
    version     integer NOT NULL,
    valid_from  timestamptz NOT NULL,           -- the newest version that is valid holds
    body        text NOT NULL,                  -- JSON: domain.tariffs.model.TariffContent
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    PRIMARY KEY (tariff_key, version)
);
CREATE FUNCTION tariff_version_stays() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a version of a tariff is never changed'; END $$;
CREATE TRIGGER tariff_version_stays BEFORE UPDATE ON tariff_version FOR EACH ROW EXECUTE FUNCTION tariff_version_stays();
