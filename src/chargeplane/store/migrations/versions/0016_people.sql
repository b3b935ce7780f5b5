-- Drivers, users, their logins.

-- Drivers: whom a tenant's stations charge. What is told of them stands as JSON in `body`; columns hold what is looked for.
CREATE TABLE driver (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         integer NOT NULL REFERENCES tenant,
    status            text NOT NULL DEFAULT 'active', -- domain.people.drivers.DriverStatus
    status_reason     text,
    email             text,
    email_key         text,                       -- e-mail in lower case; NULL: none
    email_verified_at timestamptz,
    password_hash     text,                       -- argon2id; NULL: signs in by no password
    external_id       text,                       -- the operator's own number
    user_groups       text[] NOT NULL DEFAULT '{}',
    body              text NOT NULL,              -- JSON: domain.people.drivers.DriverContent
    search            text NOT NULL,
    revision          integer NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    closed_at         timestamptz,
    erased_at         timestamptz
);
CREATE UNIQUE INDEX driver_email ON driver (tenant_id, email_key) WHERE email_key IS NOT NULL;
CREATE UNIQUE INDEX driver_external_id ON driver (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX driver_newest ON driver (tenant_id, id);
CREATE INDEX driver_groups ON driver USING gin (user_groups);

-- Whose an id token is. The token itself, and whether it may charge, is the row of id_token.
CREATE TABLE driver_id_token (
    id_token_id   bigint PRIMARY KEY REFERENCES id_token ON DELETE CASCADE,
    tenant_id     integer NOT NULL,
    driver_id     bigint NOT NULL REFERENCES driver,
    origin        text NOT NULL,                  -- domain.people.drivers.TokenOrigin
    label         text,
    vehicle_id    bigint,
    status_before text,                           -- of the token when its driver was blocked; NULL: blocked by nobody of us
    confirmed_at  timestamptz,                    -- NULL: waits for its first charging session (autocharge)
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX driver_id_token_driver ON driver_id_token (driver_id);
CREATE INDEX driver_id_token_waiting ON driver_id_token (tenant_id) WHERE confirmed_at IS NULL;

-- Cards that were printed and wait for whoever has them in hand: the number on the card and a code that came with it.
CREATE TABLE rfid_card (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    visual_number   text NOT NULL,
    visual_key      text NOT NULL,                -- without separators, in upper case
    id_token        text NOT NULL,
    id_token_type   text NOT NULL,
    activation_code bytea NOT NULL,               -- encrypted with the installation's key
    driver_id       bigint REFERENCES driver,     -- NULL: nobody's yet
    claimed_at      timestamptz,
    revoked_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, visual_key)
);
CREATE INDEX rfid_card_driver ON rfid_card (driver_id) WHERE driver_id IS NOT NULL;

CREATE TABLE vehicle (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    driver_id  bigint NOT NULL REFERENCES driver,
    body       text NOT NULL,                     -- JSON: domain.people.vehicles.VehicleContent
    search     text NOT NULL,
    revision   integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX vehicle_newest ON vehicle (tenant_id, id);
CREATE INDEX vehicle_driver ON vehicle (driver_id);

-- Users: people who work with the installation. One may have a role in several tenants.
CREATE TABLE user_account (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email             text NOT NULL,
    email_key         text NOT NULL UNIQUE,
    name              text NOT NULL,
    language          text,
    password_hash     text,                       -- argon2id; NULL: signs in by no password
    totp_secret       bytea,                      -- encrypted with the installation's key
    totp_since        timestamptz,                -- NULL: made, not confirmed
    totp_last_step    bigint NOT NULL DEFAULT 0,  -- a code counts once
    disabled_at       timestamptz,
    revision          integer NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE user_role (
    user_id    bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    tenant_id  integer NOT NULL REFERENCES tenant,
    role       text NOT NULL,                     -- domain.people.roles.Role
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX user_role_tenant ON user_role (tenant_id, user_id);
CREATE TABLE recovery_code (
    user_id   bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    used_at   timestamptz,
    PRIMARY KEY (user_id, code_hash)
);
CREATE TABLE user_identity (                      -- who one is at an OIDC provider
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE TABLE oidc_attempt (                       -- a sign-on that went to the provider and has not come back
    state_hash   bytea PRIMARY KEY,
    nonce        text NOT NULL,
    verifier     bytea NOT NULL,                  -- encrypted: the PKCE code verifier
    browser_hash bytea NOT NULL,                  -- of a cookie: who comes back is who went
    tenant_id    integer,
    return_to    text NOT NULL,
    expires_at   timestamptz NOT NULL
);

-- Who is signed in, where. The text of the token is with them alone.
CREATE TABLE login (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,           -- SHA-256 of 32 random bytes
    tenant_id    integer NOT NULL REFERENCES tenant,
    driver_id    bigint REFERENCES driver ON DELETE CASCADE,
    user_id      bigint REFERENCES user_account ON DELETE CASCADE,
    kind         text NOT NULL,                   -- cookie, bearer
    device       text,
    address      text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    CHECK ((driver_id IS NULL) <> (user_id IS NULL))
);
CREATE INDEX login_driver ON login (driver_id, id) WHERE driver_id IS NOT NULL;
CREATE INDEX login_user ON login (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX login_expires ON login (expires_at);

-- What a mail carries: works once, for a while.
CREATE TABLE mailed_secret (
    secret_hash bytea PRIMARY KEY,                -- SHA-256
    purpose     text NOT NULL,                    -- domain.people.mails.MailedPurpose
    tenant_id   integer NOT NULL REFERENCES tenant,
    driver_id   bigint REFERENCES driver ON DELETE CASCADE,
    user_id     bigint REFERENCES user_account ON DELETE CASCADE,
    email       text,                             -- what it verifies
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((driver_id IS NULL) <> (user_id IS NULL))
);
CREATE INDEX mailed_secret_driver ON mailed_secret (driver_id) WHERE driver_id IS NOT NULL;
CREATE INDEX mailed_secret_user ON mailed_secret (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX mailed_secret_expires ON mailed_secret (expires_at);

-- Attempts that failed, by account and by address, on all nodes together; hashed, so that it names nobody.
CREATE TABLE login_failure (
    subject_hash bytea PRIMARY KEY,
    failures     integer NOT NULL,
    last_at      timestamptz NOT NULL,
    locked_until timestamptz
);
CREATE INDEX login_failure_last ON login_failure (last_at);

-- Mails on their way: the fact in the outbox holds the number alone.
CREATE TABLE mail (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    driver_id  bigint,
    user_id    bigint,
    sealed     bytea NOT NULL,                    -- encrypted: it holds secrets
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What was asked of a person's data: exports and erasures, and how far they came.
CREATE TABLE data_request (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    integer NOT NULL REFERENCES tenant,
    driver_id    bigint NOT NULL,
    kind         text NOT NULL,                   -- export, erase
    state        text NOT NULL,                   -- running, done
    sealed       bytea,                           -- encrypted: what an erasure looks for, until it is done
    asked_by     text NOT NULL,
    result       jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX data_request_driver ON data_request (tenant_id, driver_id, id);

-- The audit log as it is read: by who, by when; by object it is indexed already.
CREATE INDEX audit_log_newest ON audit_log (tenant_id, id);
CREATE INDEX audit_log_actor ON audit_log (tenant_id, actor, id);
