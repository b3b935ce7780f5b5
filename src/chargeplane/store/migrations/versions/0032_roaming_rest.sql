-- What partners were pushed as a whole, because somebody asked for it, or because they read nothing themselves.
CREATE TABLE roaming_push (
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    module        text NOT NULL,
    objects       bigint NOT NULL,                -- how many were noted
    requested_by  text NOT NULL,
    requested_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, module)
);
