-- What is forgotten, and what nodes look for by its time.

-- An old command is deleted only where no certificate refers to it; without the index that is a look at all certificates, each time.
CREATE INDEX certificate_command ON certificate (command_id) WHERE command_id IS NOT NULL;

-- Nodes without a bus follow the changes that others make through the API.
CREATE INDEX charging_station_updated ON charging_station (updated_at, key);
