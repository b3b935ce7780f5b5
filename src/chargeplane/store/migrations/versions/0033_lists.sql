-- Lists of the business: an index behind each sort of a list that may be long. What is compared, and what stands for none, is as Sorts writes it
-- (store/queries/paging.py).

CREATE INDEX cdr_made ON cdr (tenant_id, id);
CREATE INDEX cdr_started ON cdr (tenant_id, started_at, id);
CREATE INDEX cdr_energy ON cdr (tenant_id, energy_wh, id);
CREATE INDEX cdr_total ON cdr (tenant_id, coalesce(total_incl, '-infinity'::numeric), id);
CREATE INDEX charging_session_made ON charging_session (tenant_id, id);

CREATE INDEX invoice_by_number ON invoice (tenant_id, coalesce(number COLLATE "C", ''), id);
CREATE INDEX invoice_by_gross ON invoice (tenant_id, gross, id);
CREATE INDEX invoice_by_issue ON invoice (tenant_id, coalesce(issued_on, '-infinity'::date), id);
CREATE INDEX invoice_by_due_day ON invoice (tenant_id, coalesce(due_on, '-infinity'::date), id);
CREATE INDEX payment_captured ON payment (tenant_id, captured, id);
CREATE INDEX ledger_entry_booked ON ledger_entry (tenant_id, booked_on, id);
CREATE INDEX booking_starts ON booking (tenant_id, starts_at, id);
CREATE INDEX booking_ends ON booking (tenant_id, ends_at, id);
CREATE INDEX checked_cdr_energy ON checked_cdr (tenant_id, kwh, object_key);

CREATE INDEX id_token_text ON id_token (tenant_id, id_token COLLATE "C", id);
CREATE INDEX driver_by_email ON driver (tenant_id, coalesce(email COLLATE "C", ''), id);
CREATE INDEX charging_station_made ON charging_station (tenant_id, created_at, key) WHERE deleted_at IS NULL;
CREATE INDEX charging_station_name ON charging_station (tenant_id, station_id COLLATE "C", key) WHERE deleted_at IS NULL;
CREATE INDEX location_made ON location (tenant_id, created_at, key) WHERE deleted_at IS NULL;
CREATE INDEX location_text ON location (tenant_id, id COLLATE "C", key) WHERE deleted_at IS NULL;

CREATE INDEX audit_log_at ON audit_log (tenant_id, at, id);
CREATE INDEX security_event_received ON security_event (tenant_id, received_at, id);
