-- CDRs of roaming partners that came over OCPI are settled as those that were handed in; one whose agreement is made later is on its first statement.
ALTER TABLE partner_cdr ALTER COLUMN agreement_id DROP NOT NULL;
ALTER TABLE partner_cdr ADD COLUMN object_key bigint;  -- partner_object.key: came over OCPI
CREATE UNIQUE INDEX partner_cdr_object ON partner_cdr (object_key) WHERE object_key IS NOT NULL;
CREATE INDEX partner_cdr_unagreed ON partner_cdr (tenant_id, party, ended_at) WHERE statement_id IS NULL AND agreement_id IS NULL;

-- Sessions at the provider of identities by which a login was (OpenID Connect Back-Channel Logout 1.0, 2.4: sid).
ALTER TABLE login ADD COLUMN oidc_sid text;
CREATE INDEX login_oidc_live ON login (oidc_provider_id) WHERE oidc_provider_id IS NOT NULL AND revoked_at IS NULL;
