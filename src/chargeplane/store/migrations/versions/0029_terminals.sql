-- Payment terminals, what was captured at them, and which CDRs invoices are made of (OCPI 2.3.0 mod_payments, mod_invoice_reconciliation).

-- Terminals: ours, where we are their provider, and those of partners.
CREATE TABLE payment_terminal (
    key           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    own           boolean NOT NULL,              -- we are its provider; else the partner is
    connection_id bigint,                        -- its provider; of ours: the operator whom it is for
    terminal_id   text NOT NULL,
    status        text NOT NULL,                 -- domain.roaming.terminals.TerminalStatus
    told          text NOT NULL,                 -- JSON: canonical Terminal as its provider has it
    said          text NOT NULL DEFAULT '{}',    -- JSON: fields that we as operator say of it
    ways          text[] NOT NULL DEFAULT '{}',  -- of a partner's: domain.locations.model.PaymentMethod that it gives its EVSEs
    added         text NOT NULL DEFAULT '{}',    -- JSON: by EVSE uid, ways to pay that it added there
    ways_wanted   integer NOT NULL DEFAULT 0,    -- rises when the EVSEs are to be brought to it
    ways_done     integer NOT NULL DEFAULT 0,    -- what of that is done
    location_keys text[] NOT NULL DEFAULT '{}',  -- of the document, lower case
    evse_keys     text[] NOT NULL DEFAULT '{}',
    last_updated  timestamptz NOT NULL,
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX payment_terminal_own ON payment_terminal (tenant_id, lower(terminal_id)) WHERE own;
CREATE UNIQUE INDEX payment_terminal_received ON payment_terminal (connection_id, lower(terminal_id)) WHERE NOT own;
CREATE INDEX payment_terminal_list ON payment_terminal (tenant_id, key);
CREATE INDEX payment_terminal_connection ON payment_terminal (connection_id, key);
CREATE INDEX payment_terminal_ways ON payment_terminal (key) WHERE ways_wanted <> ways_done;

-- What was captured at a terminal: told by its provider, or by us.
CREATE TABLE payment_confirmation (
    key             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    own             boolean NOT NULL,
    connection_id   bigint NOT NULL,
    confirmation_id text NOT NULL,
    reference       text NOT NULL,               -- authorization_reference
    capture_status  text NOT NULL,
    currency        text NOT NULL,
    total_excl      numeric NOT NULL,
    total_incl      numeric NOT NULL,
    document        text NOT NULL,               -- JSON: canonical FinancialAdviceConfirmation
    session_id      bigint,                      -- ours that it pays
    last_updated    timestamptz NOT NULL,
    resolved_at     timestamptz,                 -- a person has looked at what differs
    resolved_by     text,
    resolution      text,
    revision        integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX payment_confirmation_own ON payment_confirmation (tenant_id, lower(confirmation_id)) WHERE own;
CREATE UNIQUE INDEX payment_confirmation_received ON payment_confirmation (connection_id, lower(confirmation_id)) WHERE NOT own;
CREATE INDEX payment_confirmation_list ON payment_confirmation (tenant_id, key);
CREATE INDEX payment_confirmation_connection ON payment_confirmation (connection_id, key);
CREATE INDEX payment_confirmation_reference ON payment_confirmation (connection_id, lower(reference));
CREATE INDEX payment_confirmation_session ON payment_confirmation (session_id) WHERE session_id IS NOT NULL;

-- Sessions of ours that are paid at a partner's terminal.
CREATE TABLE terminal_session (
    session_id    bigint PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    reference     text NOT NULL,
    payment_id    bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX terminal_session_reference ON terminal_session (connection_id, lower(reference));

-- Which CDRs an invoice of ours to a partner is made of.
CREATE TABLE own_reconciliation (
    key           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    id            text NOT NULL,
    invoice_id    text NOT NULL,
    cdrs          text[] NOT NULL,
    statement_id  bigint,
    last_updated  timestamptz NOT NULL,
    deleted_at    timestamptz,
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX own_reconciliation_id ON own_reconciliation (tenant_id, lower(id));
CREATE UNIQUE INDEX own_reconciliation_statement ON own_reconciliation (statement_id, connection_id) WHERE statement_id IS NOT NULL;
CREATE INDEX own_reconciliation_connection ON own_reconciliation (connection_id, key) WHERE deleted_at IS NULL;

-- The same of partners; the document stands in partner_object.
CREATE TABLE received_reconciliation (
    object_key      bigint PRIMARY KEY,          -- partner_object.key
    tenant_id       integer NOT NULL REFERENCES tenant,
    connection_id   bigint NOT NULL,
    country_code    text NOT NULL,
    party_id        text NOT NULL,
    id              text NOT NULL,
    invoice_id      text NOT NULL,
    cdrs            text[] NOT NULL,
    cdr_keys        text[] NOT NULL,             -- lower case
    last_updated    timestamptz NOT NULL,
    gone_at         timestamptz,                 -- taken back by the partner
    invoiced_amount numeric,                     -- what the invoice asks, as a person read it
    invoiced_currency text,
    settled_at      timestamptz,                 -- a person found it right, or settled it otherwise
    settled_by      text,
    note            text,
    revision        integer NOT NULL DEFAULT 1,
    received_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX received_reconciliation_list ON received_reconciliation (tenant_id, object_key);
CREATE INDEX received_reconciliation_cdrs ON received_reconciliation USING gin (cdr_keys);
