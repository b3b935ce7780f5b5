-- What partners own, as they told it: canonical documents (OCPI 2.3.0) with the columns by which they are found.
-- Ids are kept as sent; `id_key` is the id folded. `told_at` is the last_updated of the document itself, `last_updated` also that of what is below it.

CREATE TABLE partner_location (
    key           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,               -- by which it came last
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    id_key        text NOT NULL,
    id            text NOT NULL,
    told_at       timestamptz NOT NULL,
    last_updated  timestamptz NOT NULL,
    stored_at     timestamptz NOT NULL DEFAULT now(),
    gone_at       timestamptz,                   -- a full pull found it no more
    document      bytea NOT NULL,                -- without its EVSEs
    name          text,
    city          text,
    postal_code   text,
    country       text,                          -- ISO 3166-1 alpha-3
    time_zone     text,
    publish       boolean NOT NULL DEFAULT true,
    place         point,                         -- longitude, latitude
    UNIQUE (tenant_id, country_code, party_id, id_key)
) WITH (fillfactor = 85);
CREATE INDEX partner_location_place ON partner_location USING gist (place);
CREATE INDEX partner_location_connection ON partner_location (connection_id, key);

CREATE TABLE partner_evse (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location_key bigint NOT NULL,                -- partner_location.key
    uid_key      text NOT NULL,
    uid          text NOT NULL,
    evse_id      text,
    told_at      timestamptz NOT NULL,
    last_updated timestamptz NOT NULL,
    status       text NOT NULL,
    document     bytea NOT NULL,                 -- with its connectors
    standards    text[] NOT NULL DEFAULT '{}',   -- of the connectors, and beside them:
    power_types  text[] NOT NULL DEFAULT '{}',
    powers_w     integer[] NOT NULL DEFAULT '{}',
    UNIQUE (location_key, uid_key)
) WITH (fillfactor = 80);
CREATE INDEX partner_evse_id ON partner_evse (lower(evse_id)) WHERE evse_id IS NOT NULL;

-- Everything else that partners own: tariffs, tokens, sessions, CDRs, client info, invoices, bookings, terminals.
CREATE TABLE partner_object (
    key           bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    module        text NOT NULL,                 -- domain.roaming.replicas.Module
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    id_key        text NOT NULL,
    variant       text NOT NULL DEFAULT '',      -- of tokens: their type
    connection_id bigint NOT NULL,
    id            text NOT NULL,
    last_updated  timestamptz NOT NULL,
    stored_at     timestamptz NOT NULL DEFAULT now(),
    gone_at       timestamptz,
    document      bytea NOT NULL,
    PRIMARY KEY (tenant_id, module, id_key, country_code, party_id, variant)
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX partner_object_key ON partner_object (key);
CREATE INDEX partner_object_connection ON partner_object (connection_id, module, key);

-- How far we have read what a partner owns.
CREATE TABLE partner_pull (
    connection_id bigint NOT NULL,
    module        text NOT NULL,
    tenant_id     integer NOT NULL REFERENCES tenant,
    until         timestamptz,                   -- date_from of the next delta
    full_at       timestamptz,                   -- the last pull of everything that came to its end
    begun_at      timestamptz NOT NULL,
    ended_at      timestamptz,
    objects       bigint NOT NULL DEFAULT 0,
    changed       bigint NOT NULL DEFAULT 0,
    refused       bigint NOT NULL DEFAULT 0,
    gone          bigint NOT NULL DEFAULT 0,
    error         text,
    PRIMARY KEY (connection_id, module)
);

-- Sessions of our drivers at partners' stations.
CREATE TABLE received_session (
    object_key   bigint PRIMARY KEY,             -- partner_object.key
    tenant_id    integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code text NOT NULL,
    party_id     text NOT NULL,
    id           text NOT NULL,
    status       text NOT NULL,
    location_id  text NOT NULL,
    evse_uid     text NOT NULL,
    connector_id text,
    token_uid    text NOT NULL,
    id_token_id  bigint,                         -- NULL: no token of ours
    driver_id    bigint,
    reference    text,                           -- authorization_reference
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    kwh          numeric NOT NULL,
    currency     text NOT NULL,
    cost_excl    numeric,
    cost_incl    numeric,
    last_updated timestamptz NOT NULL,
    profile      bytea,                          -- JSON: the active charging profile as told last
    updated_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX received_session_newest ON received_session (tenant_id, started_at, object_key);
CREATE INDEX received_session_driver ON received_session (tenant_id, driver_id, started_at, object_key) WHERE driver_id IS NOT NULL;
CREATE INDEX received_session_reference ON received_session (tenant_id, reference) WHERE reference IS NOT NULL;

-- CDRs of partners, what we made of them, and what became of them. The document stands in partner_object and never changes.
CREATE TABLE checked_cdr (
    object_key    bigint PRIMARY KEY,            -- partner_object.key
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    id            text NOT NULL,
    session_id    text,
    credit        boolean NOT NULL DEFAULT false,
    credits       text,                          -- credit_reference_id
    reference     text,
    location_id   text NOT NULL,
    evse_uid      text NOT NULL,
    token_uid     text NOT NULL,
    id_token_id   bigint,
    driver_id     bigint,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    kwh           numeric NOT NULL,
    currency      text NOT NULL,
    total_excl    numeric NOT NULL,
    total_incl    numeric,
    received_at   timestamptz NOT NULL DEFAULT now(),
    verdict       text NOT NULL DEFAULT 'waiting', -- domain.roaming.checking.Verdict
    check_body    text,                          -- JSON: domain.roaming.checking.Check
    dispute       text,                          -- domain.roaming.disputes.DisputeState
    dispute_body  text,                          -- JSON: domain.roaming.disputes.Dispute
    cdr_id        bigint,                        -- ours, by which the driver is billed
    posted_at     timestamptz,                   -- in the ledger
    revision      integer NOT NULL DEFAULT 1
);
CREATE INDEX checked_cdr_newest ON checked_cdr (tenant_id, ended_at, object_key);
CREATE INDEX checked_cdr_driver ON checked_cdr (tenant_id, driver_id, ended_at, object_key) WHERE driver_id IS NOT NULL;
CREATE INDEX checked_cdr_verdict ON checked_cdr (tenant_id, verdict, object_key);
CREATE INDEX checked_cdr_dispute ON checked_cdr (tenant_id, dispute, object_key) WHERE dispute IS NOT NULL;
CREATE INDEX checked_cdr_credits ON checked_cdr (tenant_id, country_code, party_id, lower(credits)) WHERE credits IS NOT NULL;

-- What we ask partners to do, by a command whose result comes later.
CREATE TABLE partner_command (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    type          text NOT NULL,                 -- domain.roaming.commands.CommandType
    secret        text NOT NULL,                 -- the unguessable part of the response_url
    body          bytea NOT NULL,                -- as sent
    requested_by  text NOT NULL,
    driver_id     bigint,
    reference     text,                          -- authorization_reference
    state         text NOT NULL,                 -- domain.roaming.commands.CommandState
    response      text,                          -- CommandResponseType
    result        text,                          -- CommandResultType
    message       text,
    told          bytea,                         -- the result as it came
    created_at    timestamptz NOT NULL DEFAULT now(),
    answered_at   timestamptz,
    expires_at    timestamptz,
    ended_at      timestamptz
);
CREATE UNIQUE INDEX partner_command_secret ON partner_command (secret);
CREATE INDEX partner_command_newest ON partner_command (tenant_id, id);
CREATE INDEX partner_command_open ON partner_command (expires_at) WHERE ended_at IS NULL;
CREATE INDEX partner_command_driver ON partner_command (tenant_id, driver_id, id) WHERE driver_id IS NOT NULL;

-- What was answered to a partner that asked for one of our tokens: its reference runs through Session and CDR.
CREATE TABLE provider_authorization (
    reference     text PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint,                        -- NULL: by a command of ours
    id_token_id   bigint NOT NULL,
    driver_id     bigint,
    agreement_id  bigint,
    location_id   text,
    allowed       text NOT NULL,
    given_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX provider_authorization_token ON provider_authorization (tenant_id, id_token_id, given_at);

-- Our id tokens as partners know them. One that is no more stays, invalid: partners are told so (OCPI mod_tokens: tokens are never removed).
CREATE TABLE provider_token (
    key          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order of lists
    tenant_id    integer NOT NULL REFERENCES tenant,
    id_token_id  bigint NOT NULL,
    uid          text NOT NULL,
    uid_key      text NOT NULL,
    contract_key text NOT NULL,                  -- contract_id, folded: OCPI 2.1.1 names tokens by it alone
    type         text NOT NULL,                  -- OCPI TokenType
    valid        boolean NOT NULL,
    last_updated timestamptz NOT NULL,
    document     bytea NOT NULL,
    UNIQUE (tenant_id, id_token_id)
);
CREATE INDEX provider_token_uid ON provider_token (tenant_id, uid_key);
CREATE INDEX provider_token_contract ON provider_token (tenant_id, contract_key);
CREATE INDEX provider_token_updated ON provider_token (tenant_id, last_updated);
CREATE INDEX id_token_updated ON id_token (tenant_id, updated_at);
