-- Performance, the work list, webhooks.

CREATE TABLE webhook_endpoint (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL REFERENCES tenant,
    url                 text NOT NULL,
    event_types         text[] NOT NULL,         -- as transaction.ended, transaction.*, *
    description         text,
    enabled             boolean NOT NULL DEFAULT true,
    disabled_because    text,                    -- where we did it
    secret              bytea NOT NULL,          -- encrypted with the installation key, purpose `webhook <id>`
    previous_secret     bytea,
    previous_until      timestamptz,             -- until then both sign
    failing_since       timestamptz,             -- of its first failure since the last success
    failures            integer NOT NULL DEFAULT 0, -- in a row
    paused_until        timestamptz,             -- the circuit is open
    leased_by           text,
    leased_until        timestamptz,             -- one process at a time delivers to an endpoint
    revision            integer NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_endpoint_tenant ON webhook_endpoint (tenant_id, id);

-- What happened, of tenants with endpoints: what can be replayed.
CREATE TABLE webhook_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL,
    type       text NOT NULL,
    key        text NOT NULL,                    -- the resource: in order per key
    payload    text NOT NULL,                    -- JSON
    at         timestamptz NOT NULL DEFAULT now(),
    fact_id    bigint                            -- of the outbox, where it was one: a repeat has the same
);
CREATE UNIQUE INDEX webhook_event_fact ON webhook_event (fact_id) WHERE fact_id IS NOT NULL;
CREATE INDEX webhook_event_newest ON webhook_event (tenant_id, id);
CREATE INDEX webhook_event_at ON webhook_event (tenant_id, at, id);
CREATE INDEX webhook_event_aging ON webhook_event (at);

CREATE TABLE webhook_delivery (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    event_id    bigint NOT NULL REFERENCES webhook_event ON DELETE CASCADE,
    key         text NOT NULL,
    state       text NOT NULL DEFAULT 'pending', -- domain.webhooks.DeliveryState
    attempts    integer NOT NULL DEFAULT 0,      -- since it was made or retried by hand
    next_at     timestamptz NOT NULL DEFAULT now(),
    replay      boolean NOT NULL DEFAULT false,  -- asked for by hand
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    status      integer,                         -- of the last attempt
    error       text
) WITH (fillfactor = 70);
CREATE INDEX webhook_delivery_pending ON webhook_delivery (endpoint_id, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_ahead ON webhook_delivery (endpoint_id, key, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_newest ON webhook_delivery (tenant_id, id);
CREATE INDEX webhook_delivery_endpoint ON webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_failed ON webhook_delivery (endpoint_id, id) WHERE state = 'failed';
CREATE INDEX webhook_delivery_event ON webhook_delivery (event_id);

CREATE TABLE webhook_attempt (
    delivery_id bigint NOT NULL REFERENCES webhook_delivery ON DELETE CASCADE,
    number      integer NOT NULL,                -- over the delivery's whole life
    at          timestamptz NOT NULL,
    status      integer,                         -- NULL: there was no answer
    latency_ms  double precision NOT NULL,
    answer      text,                            -- its beginning
    error       text,
    PRIMARY KEY (delivery_id, number)
);
