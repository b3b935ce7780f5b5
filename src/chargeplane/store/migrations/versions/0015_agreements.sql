-- Service agreements.

CREATE TABLE service_agreement (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    number       text NOT NULL,
    name         text,
    kind         text NOT NULL,                  -- domain.agreements.model.AgreementKind
    currency     text NOT NULL,
    time_zone    text NOT NULL,
    state        text NOT NULL,                  -- as last written: what time did since is worked out by who reads
    state_reason text,
    version      integer NOT NULL DEFAULT 1,     -- whose terms hold, as last written
    parties      jsonb NOT NULL DEFAULT '[]',
    party_ids    text[] NOT NULL DEFAULT '{}',   -- folded
    starts_at    timestamptz,
    ends_at      timestamptz,                    -- not included
    accepted_at  timestamptz,
    begins_at    timestamptz,                    -- when the clock makes an accepted one active
    begun_at     timestamptz,
    renews       boolean NOT NULL DEFAULT false, -- ends_at is the end of a term, not of the agreement
    renewals     integer NOT NULL DEFAULT 0,
    renewed_from timestamptz,                    -- the end before its first renewal
    renewed_months integer NOT NULL DEFAULT 0,   -- that it was moved by since
    suspensions  jsonb NOT NULL DEFAULT '[]',
    notice       jsonb,
    supersedes   bigint,
    due_at       timestamptz,                    -- when the clock has something to do
    limited      boolean NOT NULL DEFAULT false, -- has limits that sessions use up
    external_ids jsonb NOT NULL DEFAULT '{}',
    metadata     jsonb NOT NULL DEFAULT '{}',
    revision     integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    updated_by   text NOT NULL,
    search       text GENERATED ALWAYS AS (lower(number || chr(10) || coalesce(name, '') || chr(10) || parties::text
        || chr(10) || external_ids::text)) STORED,
    CHECK (ends_at IS NULL OR starts_at IS NULL OR ends_at >= starts_at)
);
CREATE UNIQUE INDEX service_agreement_number ON service_agreement (tenant_id, lower(number));
CREATE INDEX service_agreement_newest ON service_agreement (tenant_id, id);
CREATE INDEX service_agreement_state ON service_agreement (tenant_id, state, id);
CREATE INDEX service_agreement_ends ON service_agreement (tenant_id, ends_at, id);
CREATE INDEX service_agreement_party ON service_agreement USING gin (party_ids);
CREATE INDEX service_agreement_due ON service_agreement (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX service_agreement_limited ON service_agreement (tenant_id, id) WHERE limited;

CREATE TABLE service_agreement_version (
    agreement_id bigint NOT NULL REFERENCES service_agreement ON DELETE CASCADE,
    version      integer NOT NULL,
    state        text NOT NULL,                  -- domain.agreements.model.VersionState
    terms        jsonb NOT NULL,                 -- domain.agreements.model.Terms
    effective_at timestamptz,
    reason       text,
    proposed_by  text,
    proposed_at  timestamptz,
    hash         text,                           -- SHA-256 of what the parties accept
    acceptances  jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (agreement_id, version)
);
-- What was proposed is not rewritten: the hash that the parties accepted stands for it.
CREATE FUNCTION service_agreement_version_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.hash IS NOT NULL AND (NEW.terms, NEW.hash) IS DISTINCT FROM (OLD.terms, OLD.hash) THEN
        RAISE EXCEPTION 'The terms of version % of agreement % were proposed and cannot change', OLD.version, OLD.agreement_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER service_agreement_version_frozen BEFORE UPDATE ON service_agreement_version
    FOR EACH ROW EXECUTE FUNCTION service_agreement_version_frozen();

-- What agreements are found by: people they cover, or the places where that is anybody (domain.agreements.scope.keys_of).
CREATE TABLE service_agreement_key (
    tenant_id    integer NOT NULL,
    key          text NOT NULL,
    agreement_id bigint NOT NULL REFERENCES service_agreement ON DELETE CASCADE,
    version      integer NOT NULL,
    places       text[] NOT NULL,                -- that the version covers
    PRIMARY KEY (tenant_id, key, agreement_id, version)
);
CREATE INDEX service_agreement_key_agreement ON service_agreement_key (agreement_id);

-- What agreements hold id tokens to, beside what the operator set; the narrower of both is what stations are told.
ALTER TABLE id_token
    ADD COLUMN held_by         bigint,           -- the agreement; NULL: none holds it
    ADD COLUMN held_status     text,             -- what it is answered with; NULL: it may charge
    ADD COLUMN held_reason     text,
    ADD COLUMN held_concurrent integer,
    ADD COLUMN held_wh         numeric,
    ADD COLUMN held_at         timestamptz;
CREATE INDEX id_token_group_folded ON id_token (tenant_id, lower(group_id)) WHERE group_id IS NOT NULL;
CREATE INDEX id_token_held ON id_token (held_by) WHERE held_by IS NOT NULL;

-- What a month has left is no change that anything is made of, as the accounts of prepaid tokens are none.
CREATE OR REPLACE FUNCTION id_token_tick_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO id_token_clock (tenant_id) SELECT DISTINCT n.tenant_id FROM changed n JOIN before o ON o.id = n.id
    WHERE to_jsonb(n) - '{credit_wh,credit,updated_at,held_wh,held_at,held_concurrent,held_reason}'::text[]
            <> to_jsonb(o) - '{credit_wh,credit,updated_at,held_wh,held_at,held_concurrent,held_reason}'::text[]
        OR (n.credit_wh IS NULL) <> (o.credit_wh IS NULL) OR (n.credit IS NULL) <> (o.credit IS NULL)
        OR (n.held_wh IS NULL) <> (o.held_wh IS NULL) ORDER BY 1
    ON CONFLICT (tenant_id) DO UPDATE SET ticks = id_token_clock.ticks + 1;
    RETURN NULL;
END $$;
