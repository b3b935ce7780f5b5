-- Certificates of the house itself, with their private keys, encrypted with the installation key.
CREATE TABLE house_certificate (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role        text NOT NULL CHECK (role IN ('root', 'issuing', 'server')),
    names       text NOT NULL DEFAULT '',        -- of a server certificate: what it was made for
    chain       text NOT NULL,                   -- PEM: it, then those up to the root's, without the root
    key         bytea NOT NULL,
    not_after   timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX house_certificate_role ON house_certificate (role, id);

-- Certificates that stations asked for, from the request on.
CREATE TABLE certificate (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         integer NOT NULL REFERENCES tenant,
    station_key       bigint NOT NULL REFERENCES charging_station,
    use               text,                      -- the station's word; NULL where it gave none
    request_id        integer,                   -- the station's (2.1)
    state             text NOT NULL CHECK (state IN ('requested', 'refused', 'issued', 'failed')),
    reason            text,                      -- why it was refused, or failed
    csr               text NOT NULL,
    csr_hash          bytea NOT NULL,            -- SHA-256 of csr
    subject           text,
    serial_number     text,                      -- hexadecimal
    issuer            bytea,                     -- the issuer's name in DER
    not_before        timestamptz,
    not_after         timestamptz,
    chain             text,                      -- PEM
    command_id        bigint REFERENCES command, -- that brought it to the station
    requested_at      timestamptz NOT NULL DEFAULT now(),
    issued_at         timestamptz,
    revoked_at        timestamptz,
    revoked_by        text,
    revocation_reason text
);
CREATE INDEX certificate_station ON certificate (station_key, id);
CREATE INDEX certificate_newest ON certificate (tenant_id, id);
CREATE INDEX certificate_open ON certificate (id) WHERE state = 'requested' OR (state = 'issued' AND command_id IS NULL);
CREATE INDEX certificate_revoked ON certificate (not_after) WHERE revoked_at IS NOT NULL;
