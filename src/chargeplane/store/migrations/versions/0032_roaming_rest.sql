-- What partners were pushed as a whole, because somebody asked for it, or because they read nothing themselves.
CREATE TABLE roaming_push (
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    module        text NOT NULL,
    objects       bigint NOT NULL,                -- how many were noted
    requested_by  text NOT NULL,
    requested_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, module)
);

-- What signed meter values in a partner's CDR prove; the values stand with the session of the driver's CDR, with the key they came with.
ALTER TABLE checked_cdr ADD COLUMN signed text;                -- JSON: domain.cdrs.cdr.SignedSummary
ALTER TABLE signed_meter_value ADD COLUMN curve text, ADD COLUMN der bytea;

CREATE INDEX received_session_evse ON received_session (tenant_id, country_code, party_id, evse_uid, started_at, object_key);
