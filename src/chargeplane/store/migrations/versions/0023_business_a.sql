-- Fees of bookings, settlements with partners, checked VAT numbers, sessions that agreements limited.

-- The payment from whose hold a booking's fees are taken; the session that uses the booking is paid by it.
ALTER TABLE booking ADD COLUMN payment_id bigint;
CREATE UNIQUE INDEX booking_payment ON booking (payment_id) WHERE payment_id IS NOT NULL;

-- Fees that are to be billed beside CDRs, and where they were: each is on one invoice.
CREATE TABLE billable_fee (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    key          text NOT NULL,                  -- 'booking:17:no_show': the same is billed once
    booking_id   bigint NOT NULL,
    kind         text NOT NULL,                  -- domain.bookings.fees.FeeKind
    session_id   bigint,
    agreement_id bigint,
    driver_id    bigint,
    payment_id   bigint,
    currency     text NOT NULL,
    net          numeric NOT NULL,
    gross        numeric NOT NULL,               -- with tax as of then: what is taken of a payment
    fell_due_at  timestamptz NOT NULL,
    body         text NOT NULL,                  -- JSON: domain.invoicing.fees.BookingFee
    invoice_id   bigint REFERENCES invoice,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, key)
);
CREATE INDEX billable_fee_agreement ON billable_fee (tenant_id, agreement_id, fell_due_at) WHERE invoice_id IS NULL AND agreement_id IS NOT NULL;
CREATE INDEX billable_fee_payment ON billable_fee (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX billable_fee_driver ON billable_fee (tenant_id, driver_id, fell_due_at) WHERE invoice_id IS NULL AND driver_id IS NOT NULL;
CREATE INDEX billable_fee_session ON billable_fee (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX billable_fee_booking ON billable_fee (booking_id);
CREATE INDEX billable_fee_invoice ON billable_fee (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX billable_fee_unbilled ON billable_fee (tenant_id, id) WHERE invoice_id IS NULL;

-- Statements: what a site host gets of a period, or how we stand with a roaming partner. Never changed but that they were paid.
CREATE TABLE partner_statement (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    agreement_id bigint NOT NULL,
    kind         text NOT NULL,                  -- domain.settlements.model.SettlementKind
    number       text NOT NULL,
    party        text NOT NULL,                  -- whose account of the ledger: 'payable:<party>'
    name         text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,           -- not included
    currency     text NOT NULL,
    payable      numeric NOT NULL,               -- what we owe by it, before tax; below nothing: what is owed to us
    body         text NOT NULL,                  -- JSON: domain.settlements.model.Statement
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    paid_at      timestamptz,
    paid_reference text,
    UNIQUE (tenant_id, number),
    UNIQUE (tenant_id, agreement_id, currency, period_end)
);
CREATE INDEX partner_statement_newest ON partner_statement (tenant_id, id);
CREATE INDEX partner_statement_agreement ON partner_statement (tenant_id, agreement_id, id);

-- A CDR is on one statement of an agreement.
CREATE TABLE stated_cdr (
    agreement_id  bigint NOT NULL,
    cdr_id        bigint NOT NULL,
    tenant_id     integer NOT NULL,
    statement_id bigint NOT NULL REFERENCES partner_statement,
    PRIMARY KEY (agreement_id, cdr_id)
);
CREATE INDEX stated_cdr_statement ON stated_cdr (statement_id, cdr_id);

-- CDRs that roaming partners sent of our drivers at their stations: what we owe them. Booked with the row.
CREATE TABLE partner_cdr (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    agreement_id  bigint NOT NULL,
    party         text NOT NULL,                 -- 'DE*ABC'
    cdr_id        text NOT NULL,                 -- the partner's
    credit        boolean NOT NULL,
    id_token      text,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    energy_wh     numeric NOT NULL,
    currency      text NOT NULL,
    total_excl    numeric NOT NULL,              -- below nothing of a credit
    total_incl    numeric NOT NULL,
    country       text NOT NULL,                 -- where it was charged, ISO 3166-1 alpha-2
    statement_id bigint REFERENCES partner_statement,
    received_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, party, cdr_id)
);
CREATE INDEX partner_cdr_newest ON partner_cdr (tenant_id, id);
CREATE INDEX partner_cdr_open ON partner_cdr (tenant_id, agreement_id, ended_at) WHERE statement_id IS NULL;

-- What registers said of VAT numbers.
CREATE TABLE vat_check (
    tenant_id  integer NOT NULL REFERENCES tenant,
    vat_id     text NOT NULL,                    -- normalised, with its country
    outcome    text NOT NULL,                    -- domain.vat_numbers.VatOutcome
    reason     text,                             -- why it is unknown
    name       text,
    address    text,
    reference  text,                             -- of the consultation, as the register numbers it
    checked_at timestamptz NOT NULL,
    valid_at   timestamptz,                      -- when it was valid last
    PRIMARY KEY (tenant_id, vat_id)
);

-- Sessions that a limit of their agreement lowered or ended.
CREATE TABLE session_limit (
    transaction_id bigint NOT NULL,
    tenant_id      integer NOT NULL REFERENCES tenant,
    agreement_id   bigint NOT NULL,
    kind           text NOT NULL,                -- domain.agreements.limits.LimitKind
    value          text NOT NULL,                -- in words: '11 kW', '50.00 EUR'
    stopped        boolean NOT NULL,
    noted_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (transaction_id, kind)
);

-- Credit is a limit that sessions use up, too.
UPDATE service_agreement SET limited = true WHERE NOT limited AND EXISTS (SELECT FROM service_agreement_version v
    WHERE v.agreement_id = service_agreement.id AND v.terms -> 'limits' ? 'credit');
