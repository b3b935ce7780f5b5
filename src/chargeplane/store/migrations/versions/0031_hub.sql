-- A hub: what it remembers of what passed through it, and what it took to pass on to all.

-- Whose an object is, where a message does not say: OCPI 2.1.1 has no routing headers, and its commands name ids alone.
CREATE TABLE roaming_hub_object (
    tenant_id     integer NOT NULL REFERENCES tenant,
    module        text NOT NULL,                 -- locations, sessions, tokens, reservations
    id_key        text NOT NULL,                 -- folded
    owner         text NOT NULL,                 -- country code and party id in capitals
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    for_party     text,                          -- of sessions: whose driver charges
    contract_key  text,                          -- of tokens, folded
    document      bytea,                         -- of tokens: canonical; OCPI 2.1.1 tells less than others want of them
    ages_from     timestamptz,                   -- of sessions and reservations; locations and tokens stay
    PRIMARY KEY (tenant_id, module, id_key, owner)
) WITH (fillfactor = 85);
CREATE INDEX roaming_hub_object_contract ON roaming_hub_object (tenant_id, contract_key) WHERE contract_key IS NOT NULL;
CREATE INDEX roaming_hub_object_aging ON roaming_hub_object (ages_from) WHERE ages_from IS NOT NULL;
CREATE INDEX roaming_hub_object_connection ON roaming_hub_object (connection_id);

-- What a partner is yet to be told of a push to all; one row of roaming_outgoing stands for all that have its key, oldest first.
CREATE TABLE roaming_hub_message (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES roaming_connection ON DELETE CASCADE,
    key           text NOT NULL,
    row_number    smallint NOT NULL,
    path_values   text NOT NULL,                 -- JSON
    query         text NOT NULL,                 -- JSON
    body          bytea,                         -- canonical
    from_party    text NOT NULL,
    to_party      text NOT NULL,
    ticks         integer NOT NULL DEFAULT 1     -- rises when a later message is laid over it
);
CREATE INDEX roaming_hub_message_key ON roaming_hub_message (connection_id, key, id);

-- Who may come to a URL of ours that stands for somebody else's.
ALTER TABLE roaming_forward_url ADD COLUMN for_connection_id bigint REFERENCES roaming_connection ON DELETE CASCADE;

-- The parties behind our hub that a partner of OCPI 2.3.0 has in its credentials.
ALTER TABLE roaming_connection ADD COLUMN told_parties text;
