-- Roaming as operator: what is published, who was let in, what partners asked of stations.

-- Canonical OCPI documents of ours as they stand: made after each change, so that lists and pushes only read them.
CREATE TABLE roaming_document (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- order of creation: the order of lists
    tenant_id     integer NOT NULL REFERENCES tenant,
    module        text NOT NULL,                 -- locations, tariffs, sessions, cdrs
    id            text NOT NULL,
    connection_id bigint,                        -- this partner's alone; NULL: whoever the rules let see it
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    country       text,                          -- of a location, ISO 3166-1 alpha-3
    tags          text[] NOT NULL DEFAULT '{}',
    open_to_all   boolean NOT NULL DEFAULT true, -- of a location: published, or for tokens that it names
    body          text NOT NULL,
    shape         bytea NOT NULL,                -- digest of all but what changes often (statuses, times)
    shaped_at     timestamptz NOT NULL,          -- when that changed last
    last_updated  timestamptz NOT NULL,
    removed_at    timestamptz                    -- gone: kept so that partners can be told
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX roaming_document_id ON roaming_document (tenant_id, module, lower(id));
CREATE INDEX roaming_document_list ON roaming_document (tenant_id, module, seq) WHERE removed_at IS NULL;
CREATE INDEX roaming_document_updated ON roaming_document (tenant_id, module, last_updated);
CREATE INDEX roaming_document_partner ON roaming_document (connection_id, module, seq) WHERE connection_id IS NOT NULL;

-- Each EVSE as it was told last.
CREATE TABLE roaming_evse (
    evse_key   bigint PRIMARY KEY REFERENCES evse ON DELETE CASCADE,
    digest     bytea NOT NULL,                   -- of its description
    status     text NOT NULL,
    changed_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- What a partner sees of ours; without a row: all that is published.
CREATE TABLE roaming_publication (
    connection_id bigint PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    body          text NOT NULL,                 -- JSON: domain.roaming.publication.Publication
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- That a partner's driver was let in: by a question to the provider, or by a command of it.
CREATE TABLE roaming_authorization (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    presented     text NOT NULL,                 -- what the station knows the token by, as tokens are compared
    station_key   bigint,
    granted_at    timestamptz NOT NULL DEFAULT now(),
    until         timestamptz NOT NULL,          -- until when a transaction may begin by it
    driver        text NOT NULL                  -- JSON: domain.cdrs.session.RoamingDriver
);
CREATE INDEX roaming_authorization_token ON roaming_authorization (tenant_id, presented, granted_at);

-- Commands and charging profiles of partners: what was asked, and the result that they are owed.
CREATE TABLE roaming_request (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    connection_id  bigint NOT NULL,
    kind           text NOT NULL,                -- START_SESSION, ..., SET_PROFILE, CLEAR_PROFILE, GET_PROFILE
    request        text NOT NULL,                -- JSON as asked, canonical
    response_url   text NOT NULL,
    routing        text,                         -- JSON: whom the answer goes to
    command_id     bigint,                       -- of the station's command
    reservation_id bigint,
    deadline       timestamptz NOT NULL,         -- then the result is TIMEOUT
    result         text,                         -- JSON: the result object
    result_at      timestamptz,
    sent_at        timestamptz,
    attempts       integer NOT NULL DEFAULT 0,
    due_at         timestamptz NOT NULL DEFAULT now(),
    error          text,
    created_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX roaming_request_open ON roaming_request (due_at) WHERE sent_at IS NULL;
CREATE INDEX roaming_request_partner ON roaming_request (tenant_id, id);

-- Reservations that partners asked for: their id is the provider's, ours goes to the station.
CREATE TABLE roaming_reservation (
    connection_id  bigint NOT NULL,
    reference      text NOT NULL,                -- the provider's reservation_id, lower case
    tenant_id      integer NOT NULL REFERENCES tenant,
    reservation_id bigint NOT NULL,              -- reservation.id
    request_id     bigint NOT NULL,
    location_id    text NOT NULL,
    driver         text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, reference)
);
CREATE INDEX roaming_reservation_ours ON roaming_reservation (reservation_id);

-- Sessions whose charging profile a partner has set: it is told of changes.
CREATE TABLE roaming_profile (
    session_id    bigint PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    told          text,                          -- the active profile as it was told last
    updated_at    timestamptz NOT NULL DEFAULT now()
);
