-- Roaming connections: parties of ours, partners, their tokens, what is to be sent, what went over the wire, and the hub.

-- Parties of ours. Country code and party id are unique in the world, so they are over all tenants.
CREATE TABLE roaming_party (
    key              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        integer NOT NULL REFERENCES tenant,
    country_code     text NOT NULL,
    party_id         text NOT NULL,
    roles            text[] NOT NULL,            -- domain.roaming.connection.PartyRole
    business_details text NOT NULL,              -- JSON: domain.roaming.connection.BusinessDetails
    revision         integer NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX roaming_party_id ON roaming_party (upper(country_code), upper(party_id));
CREATE INDEX roaming_party_tenant ON roaming_party (tenant_id, key);

CREATE TABLE roaming_connection (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         integer NOT NULL REFERENCES tenant,
    name              text NOT NULL,
    state             text NOT NULL,              -- domain.roaming.connection.ConnectionState
    version           text,
    versions_url      text,                       -- the partner's
    modules           text NOT NULL DEFAULT '[]', -- JSON: domain.roaming.connection.ModuleUrl
    parties           text NOT NULL DEFAULT '[]', -- JSON: domain.roaming.connection.PartnerParty
    own_parties       bigint[],                   -- keys of ours that the partner sees; NULL: all
    own_role          text,                       -- of 2.1.1: CPO or EMSP
    is_hub            boolean NOT NULL DEFAULT false,
    hub_party         text,                       -- country code and party id
    quirks            text NOT NULL DEFAULT '{}', -- JSON: domain.roaming.connection.Quirks
    token_form        text,                       -- as found out
    token             bytea,                      -- the partner's, encrypted with the installation key, purpose `roaming connection <id>`
    suspended_because text,
    last_error        text,                       -- of the handshake
    revision          integer NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    registered_at     timestamptz,
    ended_at          timestamptz,
    heard_at          timestamptz,                -- when it last asked us something
    answered_at       timestamptz,                -- when it last answered us
    failing_since     timestamptz,                -- of the first request that failed since the last success
    failures          integer NOT NULL DEFAULT 0, -- in a row
    paused_until      timestamptz,                -- the circuit is open
    leased_by         text,
    leased_until      timestamptz                 -- one process at a time sends to a partner
);
CREATE INDEX roaming_connection_tenant ON roaming_connection (tenant_id, id);

-- Tokens that we issued. Random, so their plain SHA-256 is kept.
CREATE TABLE roaming_token (
    hash          bytea PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    kind          text NOT NULL,                  -- invite: opens versions and credentials; offered: in a handshake of ours; current
    prefix        text NOT NULL,                  -- its first characters
    id            bigint GENERATED ALWAYS AS IDENTITY, -- later ones replace earlier ones once they are used
    created_at    timestamptz NOT NULL DEFAULT now(),
    used_at       timestamptz,
    expires_at    timestamptz
);
CREATE INDEX roaming_token_connection ON roaming_token (connection_id, id);

-- When a module's exchange with a partner last went well.
CREATE TABLE roaming_module_state (
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    module        text NOT NULL,
    pulled_at     timestamptz,
    pulled_until  timestamptz,                    -- what changed before is known
    pulled_count  bigint,
    pushed_at     timestamptz,
    failed_at     timestamptz,
    error         text,
    PRIMARY KEY (connection_id, module)
);

-- Objects that a partner does not have the newest state of. One row an object; what is sent is made when it is sent.
CREATE TABLE roaming_outgoing (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL,
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    module        text NOT NULL,
    key           text NOT NULL,
    hint          text,                           -- what changed, for whoever makes the message
    correlation_id text,
    ticks         bigint NOT NULL DEFAULT 1,      -- rises with each change: what changed meanwhile is sent again
    attempts      integer NOT NULL DEFAULT 0,
    next_at       timestamptz NOT NULL DEFAULT now(),
    noted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    parked_at     timestamptz,                    -- given up, for a person to see
    error         text
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX roaming_outgoing_object ON roaming_outgoing (connection_id, module, key);
CREATE INDEX roaming_outgoing_due ON roaming_outgoing (connection_id, next_at, id) WHERE parked_at IS NULL;
CREATE INDEX roaming_outgoing_tenant ON roaming_outgoing (tenant_id, id);

-- What a partner answered when it was told of an object: the Location of a CDR, that it has it at all.
CREATE TABLE roaming_sent (
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    module        text NOT NULL,
    key           text NOT NULL,
    sent_at       timestamptz NOT NULL DEFAULT now(),
    location      text,
    digest        bytea,                          -- of what was sent last
    PRIMARY KEY (connection_id, module, key)
);

-- What went over the wire. Lossy by design: written in batches beside the work.
CREATE TABLE roaming_exchange (
    id             bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id      integer NOT NULL,
    connection_id  bigint NOT NULL,
    at             timestamptz NOT NULL,
    direction      text NOT NULL,                 -- in, out
    row_number     smallint,
    module         text,
    method         text NOT NULL,
    url            text NOT NULL,
    request_id     text,
    correlation_id text,
    from_party     text,
    to_party       text,
    http_status    smallint,
    status_code    smallint,
    latency_ms     real NOT NULL,
    request        text,                          -- the body, cut at a bound
    response       text,
    error          text,
    losses         text[],
    path_values    text,                          -- JSON: what a replay needs
    query          text,
    cut            boolean NOT NULL DEFAULT false,
    routed         boolean NOT NULL DEFAULT false -- on its way through our hub
);
CREATE INDEX roaming_exchange_newest ON roaming_exchange (tenant_id, id);
CREATE INDEX roaming_exchange_connection ON roaming_exchange (connection_id, id);
CREATE INDEX roaming_exchange_correlation ON roaming_exchange (tenant_id, correlation_id, id) WHERE correlation_id IS NOT NULL;
CREATE INDEX roaming_exchange_aging ON roaming_exchange (at);

-- The hub: between which parties it lets messages pass. Without any row of a tenant, between all.
CREATE TABLE roaming_route (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    from_party text NOT NULL,                     -- country code and party id in capitals, or *
    to_party   text NOT NULL,
    modules    text[],                            -- NULL: all
    allowed    boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL
);
CREATE UNIQUE INDEX roaming_route_pair ON roaming_route (tenant_id, from_party, to_party);

-- Client info of hubs: what ours told last (connection_id NULL), and what a hub told us.
CREATE TABLE roaming_client_info (
    tenant_id     integer NOT NULL,
    connection_id bigint REFERENCES roaming_connection ON DELETE CASCADE,
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    role          text NOT NULL,
    status        text NOT NULL,
    last_updated  timestamptz NOT NULL,
    created_id    bigint GENERATED ALWAYS AS IDENTITY
);
CREATE UNIQUE INDEX roaming_client_info_party
    ON roaming_client_info (tenant_id, coalesce(connection_id, 0), upper(country_code), upper(party_id), role);

-- Where results of what a hub forwarded go, and CDRs and the like that it passed on: URLs of others behind URLs of ours.
CREATE TABLE roaming_forward_url (
    reference     text PRIMARY KEY,
    tenant_id     integer NOT NULL,
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    url           text NOT NULL,
    kind          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX roaming_forward_url_aging ON roaming_forward_url (created_at);
