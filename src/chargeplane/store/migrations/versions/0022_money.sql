-- Fees, disputes, saved ways of paying, holds of account holders.

-- What the provider keeps for its work, as it told last.
ALTER TABLE payment ADD COLUMN fee numeric NOT NULL DEFAULT 0 CHECK (fee >= 0);
-- The saved way of paying that a payment without the payer uses: payment_method.ref.
ALTER TABLE payment ADD COLUMN saved_method text;
-- An id token (token_key) whose next session is paid by it; NULL once it has one.
ALTER TABLE payment ADD COLUMN for_token text;
CREATE INDEX payment_for_token ON payment (tenant_id, for_token) WHERE for_token IS NOT NULL;

-- How somebody pays without being asked each time. The provider keeps the card; we keep what it calls it.
CREATE TABLE payment_method (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    owner      text NOT NULL,                    -- a driver's id, or an agreement's number
    provider   text NOT NULL,                    -- payment_provider.name
    ref        text NOT NULL,                    -- the provider's id of it
    label      text,                             -- for people: Visa 4242
    payment_id bigint UNIQUE,                    -- by which it was saved
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, provider, ref)
);
CREATE UNIQUE INDEX payment_method_default ON payment_method (tenant_id, owner) WHERE is_default;
CREATE INDEX payment_method_owner ON payment_method (tenant_id, owner, id);

-- What is booked of a payment besides what was taken and given back.
ALTER TABLE billing_payment ADD COLUMN fee numeric NOT NULL DEFAULT 0;
ALTER TABLE billing_payment ADD COLUMN dispute text NOT NULL DEFAULT 'none'; -- domain.payments.states.Dispute
ALTER TABLE billing_payment ADD COLUMN disputed numeric NOT NULL DEFAULT 0;  -- taken back by the payer's bank

