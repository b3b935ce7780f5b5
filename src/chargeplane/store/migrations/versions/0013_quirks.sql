-- Tenants' own rules about vendors, models and firmwares of stations.

ALTER TABLE tenant ADD COLUMN quirks text NOT NULL DEFAULT '[]';  -- JSON: domain.quirks.Quirk[]
