-- Ids of OCPI do not differ by case (CiString): a CDR that was handed in as "cdr-1" and came as "CDR-1" is one, and owed once.
-- Of those that were booked twice the later ones keep their rows and entries under a name that says so, for a person to credit.
ALTER TABLE partner_cdr DROP CONSTRAINT partner_cdr_tenant_id_party_cdr_id_key;
UPDATE partner_cdr p SET cdr_id = p.cdr_id || ' (again, ' || p.id || ')'
 WHERE EXISTS (SELECT FROM partner_cdr o WHERE o.tenant_id = p.tenant_id AND o.party = p.party AND lower(o.cdr_id) = lower(p.cdr_id) AND o.id < p.id);
CREATE UNIQUE INDEX partner_cdr_ref ON partner_cdr (tenant_id, party, lower(cdr_id));

-- Which statements a CDR is on, whatever the agreement.
CREATE INDEX stated_cdr_cdr ON stated_cdr (cdr_id);
