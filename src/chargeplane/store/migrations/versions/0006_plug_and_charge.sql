-- Contract certificates.

-- Authorities that contracts' certificates may lead to, and those between; of each tenant.
CREATE TABLE trust_anchor (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    fingerprint bytea NOT NULL,                  -- SHA-256
    is_root     boolean NOT NULL,                -- false: known, but no chain ends there
    subject     text NOT NULL,
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    pem         text NOT NULL,
    note        text,
    added_by    text NOT NULL,
    added_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, fingerprint)
);

-- Certificates that cars asked for, by whom they were made.
CREATE TABLE ev_certificate_request (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    station_key bigint NOT NULL REFERENCES charging_station ON DELETE CASCADE,
    schema      text NOT NULL,
    renewal     boolean NOT NULL,
    provider    text NOT NULL,
    accepted    boolean NOT NULL,
    reason      text,
    emaid       text,
    at          timestamptz NOT NULL
);
CREATE INDEX ev_certificate_request_newest ON ev_certificate_request (tenant_id, id);

-- The test pool's own authorities and contracts.
CREATE TABLE pool_authority (
    name     text PRIMARY KEY,                   -- root, sub1, sub2
    pem      text NOT NULL,
    key      bytea NOT NULL,                     -- encrypted
    made_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE contract (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    emaid       text NOT NULL,                   -- without separators
    pcid        text NOT NULL,                   -- provisioning certificate id of the car
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    revoked_because text,
    UNIQUE (tenant_id, emaid)
);
CREATE INDEX contract_pcid ON contract (tenant_id, pcid);

CREATE TABLE contract_certificate (
    serial_number text PRIMARY KEY,              -- hexadecimal
    contract_id   bigint NOT NULL REFERENCES contract ON DELETE CASCADE,
    pem           text NOT NULL,
    not_after     timestamptz NOT NULL,
    made_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX contract_certificate_contract ON contract_certificate (contract_id);
