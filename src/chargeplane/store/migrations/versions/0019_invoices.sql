-- Invoices and the ledger.

-- Double entry: the postings of an entry sum to nothing in every currency, checked when the transaction commits; nothing is changed once written.
CREATE TABLE ledger_account (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    code       text NOT NULL,                    -- domain.ledger.accounts
    type       text NOT NULL CHECK (type IN ('asset', 'liability', 'income', 'expense')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, code)
);

CREATE TABLE ledger_entry (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    key            text NOT NULL,                -- the event it books: a repeat books nothing
    kind           text NOT NULL,                -- domain.ledger.entries.EntryKind
    booked_on      date NOT NULL,                -- in a period that was open
    happened_at    timestamptz NOT NULL,
    text           text NOT NULL,
    reference_kind text,
    reference      text,
    reverses       bigint UNIQUE REFERENCES ledger_entry,
    postings       integer NOT NULL CHECK (postings >= 2),
    digest         text NOT NULL,                -- of what it says: the same key with other content is a mistake
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, key)
);
CREATE INDEX ledger_entry_newest ON ledger_entry (tenant_id, id);
CREATE INDEX ledger_entry_day ON ledger_entry (tenant_id, booked_on);
CREATE INDEX ledger_entry_reference ON ledger_entry (tenant_id, reference_kind, reference);

CREATE TABLE ledger_posting (
    entry_id   bigint NOT NULL REFERENCES ledger_entry,
    number     integer NOT NULL,
    account_id bigint NOT NULL REFERENCES ledger_account,
    tenant_id  integer NOT NULL,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount     numeric NOT NULL CHECK (amount <> 0), -- debit above nothing, credit below
    PRIMARY KEY (entry_id, number)
);
CREATE INDEX ledger_posting_account ON ledger_posting (account_id, entry_id) INCLUDE (currency, amount);

CREATE FUNCTION ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ident bigint;
    wanted integer;
    found integer;
    off text;
BEGIN
    IF TG_TABLE_NAME = 'ledger_entry' THEN ident := NEW.id; ELSE ident := NEW.entry_id; END IF;
    SELECT postings INTO wanted FROM ledger_entry WHERE id = ident;
    SELECT count(*) INTO found FROM ledger_posting WHERE entry_id = ident;
    IF found <> wanted THEN
        RAISE EXCEPTION 'ledger entry % has % postings in place of %', ident, found, wanted USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT string_agg(currency || ' ' || total, ', ') INTO off FROM
        (SELECT currency, sum(amount) AS total FROM ledger_posting WHERE entry_id = ident GROUP BY currency) s WHERE total <> 0;
    IF off IS NOT NULL THEN
        RAISE EXCEPTION 'ledger entry % does not balance: %', ident, off USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entry_balances AFTER INSERT ON ledger_entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_balances();
CREATE CONSTRAINT TRIGGER ledger_posting_balances AFTER INSERT ON ledger_posting DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_balances();

CREATE FUNCTION ledger_stays() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'what stands in the ledger is never changed: reverse the entry' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER ledger_entry_stays BEFORE UPDATE OR DELETE ON ledger_entry FOR EACH ROW EXECUTE FUNCTION ledger_stays();
CREATE TRIGGER ledger_posting_stays BEFORE UPDATE OR DELETE ON ledger_posting FOR EACH ROW EXECUTE FUNCTION ledger_stays();
CREATE TRIGGER ledger_entry_kept BEFORE TRUNCATE ON ledger_entry EXECUTE FUNCTION ledger_stays();
CREATE TRIGGER ledger_posting_kept BEFORE TRUNCATE ON ledger_posting EXECUTE FUNCTION ledger_stays();

-- Nothing is booked up to a closed day any more.
CREATE TABLE ledger_close (
    tenant_id integer NOT NULL REFERENCES tenant,
    until     date NOT NULL,                     -- included
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL,
    report    text NOT NULL,                     -- JSON: what the check said
    PRIMARY KEY (tenant_id, until)
);

-- Whose invoices they are, and how they are numbered.
CREATE TABLE invoicing_settings (
    tenant_id  integer PRIMARY KEY REFERENCES tenant,
    body       text NOT NULL,                    -- JSON: domain.invoicing.settings.Settings
    revision   integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Whom invoices are for, where more is known than the driver's account or the agreement tells.
CREATE TABLE invoice_customer (
    tenant_id  integer NOT NULL REFERENCES tenant,
    kind       text NOT NULL,                    -- domain.ledger.accounts.PayerKind
    id         text NOT NULL,
    body       text NOT NULL,                    -- JSON: domain.invoicing.parties.Customer
    revision   integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, id)
);

-- The last number given. Its row is locked until the invoice is committed, so a rollback leaves no hole.
CREATE TABLE invoice_series (
    tenant_id integer NOT NULL REFERENCES tenant,
    series    text NOT NULL,
    year      integer NOT NULL,
    last      integer NOT NULL,
    PRIMARY KEY (tenant_id, series, year)
);

CREATE TABLE billing_run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    key         text NOT NULL,
    state       text NOT NULL,                   -- domain.invoicing.runs.RunState
    until       timestamptz NOT NULL,            -- what ended before is billed
    body        text NOT NULL,                   -- JSON: domain.invoicing.runs.RunOrder
    items       integer NOT NULL DEFAULT 0,
    done        integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    finished_at timestamptz,
    claimed_until timestamptz,
    UNIQUE (tenant_id, key)
);
CREATE INDEX billing_run_newest ON billing_run (tenant_id, id);
CREATE INDEX billing_run_open ON billing_run (id) WHERE finished_at IS NULL;

CREATE TABLE billing_run_item (
    run_id     bigint NOT NULL REFERENCES billing_run,
    number     integer NOT NULL,
    tenant_id  integer NOT NULL,
    subject    text NOT NULL,                    -- 'agreement:12', 'payment:7', 'driver:3'
    state      text NOT NULL,                    -- domain.invoicing.runs.ItemState
    invoice_id bigint,
    reason     text,
    PRIMARY KEY (run_id, number),
    UNIQUE (run_id, subject)
);
CREATE INDEX billing_run_item_waiting ON billing_run_item (run_id, number) WHERE state = 'waiting';

CREATE TABLE invoice (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    key           text NOT NULL,                 -- what it bills: the same is billed once
    kind          text NOT NULL,                 -- domain.invoicing.model.InvoiceKind
    state         text NOT NULL,                 -- domain.invoicing.states.InvoiceState
    series        text,
    year          integer,
    running       integer,
    number        text,
    run_id        bigint REFERENCES billing_run,
    agreement_id  bigint,
    driver_id     bigint,
    payment_id    bigint,
    payer_kind    text NOT NULL,
    payer_id      text NOT NULL,
    customer      text NOT NULL,                 -- name, for lists
    currency      text NOT NULL,
    net           numeric NOT NULL,
    tax           numeric NOT NULL,
    gross         numeric NOT NULL,
    paid          numeric NOT NULL DEFAULT 0,
    credited      numeric NOT NULL DEFAULT 0,
    written_off   numeric NOT NULL DEFAULT 0,
    credits       bigint REFERENCES invoice,     -- the invoice that a credit note takes back
    reason        text,
    issued_on     date,
    due_on        date,
    dunning_level integer NOT NULL DEFAULT 0,
    dunned_at     timestamptz,
    sent_at       timestamptz,
    body          text NOT NULL,                 -- JSON: domain.invoicing.model.InvoiceContent
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    issued_at     timestamptz,
    UNIQUE (tenant_id, key),
    UNIQUE (tenant_id, series, year, running),
    CHECK ((number IS NULL) = (issued_at IS NULL)),
    CHECK ((number IS NULL) = (running IS NULL)),
    CHECK (state = 'draft' OR number IS NOT NULL),
    CHECK (net + tax = gross)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX invoice_number ON invoice (tenant_id, number) WHERE number IS NOT NULL;
CREATE INDEX invoice_newest ON invoice (tenant_id, id);
CREATE INDEX invoice_state ON invoice (tenant_id, state, id);
CREATE INDEX invoice_due ON invoice (due_on) WHERE state IN ('issued', 'overdue');
CREATE INDEX invoice_payer ON invoice (tenant_id, payer_kind, payer_id, id);
CREATE INDEX invoice_agreement ON invoice (tenant_id, agreement_id, id) WHERE agreement_id IS NOT NULL;
CREATE INDEX invoice_payment_of ON invoice (tenant_id, payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX invoice_run ON invoice (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX invoice_credits ON invoice (credits) WHERE credits IS NOT NULL;

CREATE FUNCTION invoice_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.number IS NULL THEN
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'invoice % was issued: credit it', OLD.number USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.tenant_id, NEW.key, NEW.kind, NEW.series, NEW.year, NEW.running, NEW.number, NEW.agreement_id, NEW.driver_id, NEW.payment_id,
        NEW.payer_kind, NEW.payer_id, NEW.currency, NEW.net, NEW.tax, NEW.gross, NEW.credits, NEW.issued_on, NEW.due_on, NEW.issued_at,
        NEW.body) IS DISTINCT FROM
       (OLD.tenant_id, OLD.key, OLD.kind, OLD.series, OLD.year, OLD.running, OLD.number, OLD.agreement_id, OLD.driver_id, OLD.payment_id,
        OLD.payer_kind, OLD.payer_id, OLD.currency, OLD.net, OLD.tax, OLD.gross, OLD.credits, OLD.issued_on, OLD.due_on, OLD.issued_at,
        OLD.body) OR NEW.state = 'draft' THEN
        RAISE EXCEPTION 'invoice % was issued and cannot change: credit it', OLD.number USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_stays BEFORE UPDATE OR DELETE ON invoice FOR EACH ROW EXECUTE FUNCTION invoice_stays();

-- CDRs that are to be billed, and where they were: a CDR is on one invoice, its credit on another.
CREATE TABLE billable_cdr (
    cdr_id       bigint PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    session_id   bigint NOT NULL,
    kind         text NOT NULL,
    credits      bigint,
    agreement_id bigint,
    driver_id    bigint,
    payment_id   bigint,
    currency     text,
    ended_at     timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    holds        text[] NOT NULL DEFAULT '{}',
    released_at  timestamptz,
    invoice_id   bigint REFERENCES invoice
);
CREATE INDEX billable_cdr_agreement ON billable_cdr (tenant_id, agreement_id, ended_at) WHERE invoice_id IS NULL AND agreement_id IS NOT NULL;
CREATE INDEX billable_cdr_payment ON billable_cdr (tenant_id, payment_id) WHERE invoice_id IS NULL AND payment_id IS NOT NULL;
CREATE INDEX billable_cdr_driver ON billable_cdr (tenant_id, driver_id, ended_at) WHERE invoice_id IS NULL AND driver_id IS NOT NULL;
CREATE INDEX billable_cdr_paid ON billable_cdr (payment_id, invoice_id) WHERE payment_id IS NOT NULL AND invoice_id IS NOT NULL;
CREATE INDEX billable_cdr_unbilled ON billable_cdr (tenant_id, cdr_id) WHERE invoice_id IS NULL;
CREATE INDEX billable_cdr_invoice ON billable_cdr (invoice_id) WHERE invoice_id IS NOT NULL;

-- Until when the items of an agreement are billed: fees, minimums and shares, each by its name.
CREATE TABLE billed_period (
    tenant_id    integer NOT NULL,
    agreement_id bigint NOT NULL,
    item         text NOT NULL,                  -- 'fee:Name', 'minimum:Name', 'share:Name'
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    invoice_id   bigint REFERENCES invoice ON DELETE CASCADE,
    PRIMARY KEY (agreement_id, item, period_start)
);
CREATE INDEX billed_period_invoice ON billed_period (invoice_id);

-- What was paid, once for each key; `surplus` is more than was owed.
CREATE TABLE invoice_payment (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    key        text NOT NULL,
    invoice_id bigint NOT NULL REFERENCES invoice,
    amount     numeric NOT NULL,                 -- below nothing: paid back
    surplus    numeric NOT NULL DEFAULT 0,
    method     text NOT NULL,
    reference  text,
    paid_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    UNIQUE (tenant_id, key)
);
CREATE INDEX invoice_payment_invoice ON invoice_payment (invoice_id, id);

-- How payments stand, as their facts told last: what guests paid comes before their invoice.
CREATE TABLE billing_payment (
    payment_id bigint PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    provider   text NOT NULL,
    currency   text NOT NULL,
    captured   numeric NOT NULL DEFAULT 0,
    refunded   numeric NOT NULL DEFAULT 0,
    booked_captured numeric NOT NULL DEFAULT 0,
    booked_refunded numeric NOT NULL DEFAULT 0,
    session_id bigint,
    driver_id  text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
