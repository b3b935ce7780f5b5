-- Every batch of the group commit finds tokens by their key. As long as the table has no statistics, all indexes that begin with
-- tenant_id cost the planner the same, and some would read every token of the tenant; this one alone begins with the key.
ALTER TABLE id_token DROP CONSTRAINT id_token_tenant_id_token_key_type_key;
ALTER TABLE id_token ADD CONSTRAINT id_token_key UNIQUE (token_key, tenant_id, type);
