-- Sign-on of users by OpenID Connect.

CREATE TABLE oidc_provider (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL REFERENCES tenant,
    slug          text NOT NULL,                  -- in addresses
    issuer        text NOT NULL,
    client_id     text NOT NULL,
    client_secret bytea,                          -- encrypted with the installation's key; NULL: a public client, proved by PKCE alone
    enabled       boolean NOT NULL DEFAULT true,
    body          text NOT NULL,                  -- JSON: domain.people.sign_on.ProviderContent
    revision      integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, slug)
);

-- Nothing wrote these before.
DELETE FROM oidc_attempt;
ALTER TABLE oidc_attempt
    DROP COLUMN tenant_id,
    ADD COLUMN provider_id bigint NOT NULL REFERENCES oidc_provider ON DELETE CASCADE,
    ADD COLUMN redirect_uri text NOT NULL;
CREATE INDEX oidc_attempt_expires ON oidc_attempt (expires_at);
CREATE INDEX oidc_attempt_provider ON oidc_attempt (provider_id);

-- A login by a tenant's provider is for that tenant alone, for the tenant alone trusts it.
ALTER TABLE login
    ADD COLUMN oidc_provider_id bigint REFERENCES oidc_provider ON DELETE CASCADE,
    ADD COLUMN oidc_id_token bytea;               -- encrypted; told to the provider when its user signs out
CREATE INDEX login_oidc_provider ON login (oidc_provider_id) WHERE oidc_provider_id IS NOT NULL;
