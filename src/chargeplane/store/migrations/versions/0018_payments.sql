-- Payments. Amounts are in major units of the row's currency; card numbers are nowhere, for they never reach us.

-- How a tenant is paid. `secrets` are sealed with the installation key.
CREATE TABLE payment_provider (
    tenant_id     integer NOT NULL REFERENCES tenant,
    name          text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,35}$'),
    kind          text NOT NULL,                 -- simulator, stripe, invoice, wallet, free
    enabled       boolean NOT NULL DEFAULT true,
    for_guests    boolean NOT NULL DEFAULT false,
    settings      jsonb NOT NULL DEFAULT '{}',
    secrets       bytea,
    webhook_token text NOT NULL UNIQUE,          -- part of the address where it tells us what happens
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);
CREATE UNIQUE INDEX payment_provider_guests ON payment_provider (tenant_id) WHERE for_guests;

CREATE TABLE payment (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    provider      text NOT NULL,                 -- payment_provider.name, or terminal
    kind          text NOT NULL,                 -- payment_provider.kind, or terminal
    purpose       text NOT NULL,                 -- session, guest_session, top_up, terminal
    key           text NOT NULL UNIQUE,          -- what idempotency keys are made of
    ref           text,                          -- the provider's id
    alias         text,                          -- another one of it
    currency      text NOT NULL,
    hold          numeric NOT NULL CHECK (hold >= 0),
    goal          text NOT NULL DEFAULT 'hold',  -- hold, capture, void
    to_capture    numeric,
    capture_begun boolean NOT NULL DEFAULT false,
    off_session   boolean NOT NULL DEFAULT false,
    action        boolean NOT NULL DEFAULT false,
    authorized    numeric NOT NULL DEFAULT 0,
    captured      numeric NOT NULL DEFAULT 0,
    refunded      numeric NOT NULL DEFAULT 0,
    ended         text,                          -- voided, failed, expired
    dispute       text NOT NULL DEFAULT 'none',
    state         text NOT NULL,                 -- follows from the columns above (domain.payments.states)
    error         text,
    method        text,                          -- for people: Visa 4242
    action_url    text,
    client_secret text,
    return_url    text,
    session_id    bigint,                        -- transaction.id
    driver_id     text,
    account_id    bigint,                        -- payment_account.id: that pays, or that a top-up goes to
    description   text,
    action_until  timestamptz,                   -- the payer has time until then
    expires_at    timestamptz,                   -- the hold ends
    authorized_at timestamptz,
    captured_at   timestamptz,
    attempts      integer NOT NULL DEFAULT 0,    -- of the provider, since the last success
    next_at       timestamptz,                   -- when it is looked at again; NULL: when something happens
    claimed_until timestamptz,                   -- somebody is at it
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX payment_newest ON payment (tenant_id, id);
CREATE INDEX payment_state ON payment (tenant_id, state, id);
CREATE INDEX payment_session ON payment (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX payment_driver ON payment (tenant_id, driver_id, id) WHERE driver_id IS NOT NULL;
CREATE UNIQUE INDEX payment_ref ON payment (tenant_id, provider, ref) WHERE ref IS NOT NULL;
CREATE INDEX payment_alias ON payment (tenant_id, provider, alias) WHERE alias IS NOT NULL;
CREATE INDEX payment_due ON payment (next_at) WHERE next_at IS NOT NULL;

-- What a provider is asked for, written before it is asked.
CREATE TABLE payment_operation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id bigint NOT NULL REFERENCES payment,
    tenant_id  integer NOT NULL,
    kind       text NOT NULL,                    -- start, authorize, increment, capture, void, refund
    amount     numeric NOT NULL,
    key        text NOT NULL UNIQUE,             -- idempotency key
    state      text NOT NULL,                    -- wanted, begun, done, refused
    superseded boolean NOT NULL DEFAULT false,   -- refused, and wanted anew by a person
    error      text,
    reason     text,
    requested_by text NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    begun_at   timestamptz,
    ended_at   timestamptz
);
CREATE INDEX payment_operation_payment ON payment_operation (payment_id, id);

-- What providers told by themselves: kept first, applied afterwards, once.
CREATE TABLE payment_webhook (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    provider    text NOT NULL,
    event_id    text NOT NULL,
    kind        text NOT NULL,
    ref         text,                            -- of the payment
    payment_id  bigint,
    payload     text NOT NULL,
    seen        text,                            -- JSON: domain.payments.states.Seen
    hits        integer NOT NULL DEFAULT 1,
    received_at timestamptz NOT NULL DEFAULT now(),
    applied_at  timestamptz,
    UNIQUE (tenant_id, provider, event_id)
);
CREATE INDEX payment_webhook_waiting ON payment_webhook (id) WHERE applied_at IS NULL;
CREATE INDEX payment_webhook_payment ON payment_webhook (payment_id, id) WHERE payment_id IS NOT NULL;
CREATE INDEX payment_webhook_ref ON payment_webhook (tenant_id, provider, ref) WHERE applied_at IS NULL;

-- Money of the house's own: prepaid balances, and what is owed until invoices are paid.
CREATE TABLE payment_account (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    kind         text NOT NULL CHECK (kind IN ('wallet', 'credit')),
    owner        text NOT NULL,                  -- a driver's id, an agreement's number, or what the operator calls it
    currency     text NOT NULL,
    balance      numeric NOT NULL DEFAULT 0,     -- of a credit account below zero: owed
    held         numeric NOT NULL DEFAULT 0 CHECK (held >= 0),
    credit_limit numeric NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),
    revision     integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, kind, owner, currency),
    CHECK (kind <> 'wallet' OR (credit_limit = 0 AND balance - held >= 0))
);
CREATE INDEX payment_account_newest ON payment_account (tenant_id, kind, id);

-- What the providers of the house (invoice, wallet, free) know of a payment.
CREATE TABLE house_payment (
    ref        text PRIMARY KEY,
    tenant_id  integer NOT NULL,
    account_id bigint REFERENCES payment_account,
    hold       numeric NOT NULL,
    authorized numeric NOT NULL DEFAULT 0,
    captured   numeric NOT NULL DEFAULT 0,
    refunded   numeric NOT NULL DEFAULT 0,
    refunds    text[] NOT NULL DEFAULT '{}',
    ended      text,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Every movement of an account; `key` makes it happen once.
CREATE TABLE payment_account_entry (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES payment_account,
    tenant_id  integer NOT NULL,
    key        text NOT NULL UNIQUE,
    kind       text NOT NULL,                    -- hold, release, capture, refund, top_up, top_up_refund, paid, correction
    balance    numeric NOT NULL,                 -- change of the balance
    held       numeric NOT NULL,                 -- change of what is held
    balance_after numeric NOT NULL,
    payment_id bigint,
    by         text NOT NULL,
    reason     text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payment_account_entry_newest ON payment_account_entry (account_id, id);

-- A guest at an EVSE, from the scanned code to the receipt.
CREATE TABLE guest_visit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    token          text NOT NULL UNIQUE,         -- part of the guest's own address
    payment_id     bigint NOT NULL UNIQUE REFERENCES payment,
    code           text NOT NULL,                -- of the EVSE, as scanned
    station_key    bigint NOT NULL,
    ocpp_evse_id   integer NOT NULL,
    evse_uid       text NOT NULL,
    location_id    text,
    place          text NOT NULL,                -- JSON: what the page says of the place
    price          text NOT NULL,                -- JSON: frozen when the visit began
    id_token       text,
    id_token_type  text,
    stage          text NOT NULL,                -- domain.payments.visits.Stage
    reason         text,                         -- why it ended without charging
    language       text NOT NULL,
    email          text,
    email_sent_at  timestamptz,
    transaction_id bigint,
    energy_wh      numeric,
    cost           numeric,
    cost_lines     text,                         -- JSON: how the cost is made up
    cost_at        timestamptz,
    stop_asked_at  timestamptz,
    stop_reason    text,
    start_asked_at timestamptz,
    start_until    timestamptz,
    ended_at       timestamptz,
    next_at        timestamptz,
    claimed_until  timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX guest_visit_due ON guest_visit (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX guest_visit_place ON guest_visit (station_key, ocpp_evse_id) WHERE ended_at IS NULL;
CREATE INDEX guest_visit_transaction ON guest_visit (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX guest_visit_id_token ON guest_visit (tenant_id, id_token) WHERE id_token IS NOT NULL;
