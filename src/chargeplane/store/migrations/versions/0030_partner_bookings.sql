-- Bookings by partners at our EVSEs, and of our drivers at theirs.

-- Whose driver a booking is for, where that is a partner's; further id tokens that may use it, as tokens are compared.
ALTER TABLE booking ADD COLUMN roaming text;                     -- JSON: domain.cdrs.session.RoamingDriver
ALTER TABLE booking ADD COLUMN other_keys text[] NOT NULL DEFAULT '{}';

-- What partners asked for, and what became of it: OCPI Booking.
CREATE TABLE partner_booking (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- Booking.id
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code  text NOT NULL,                 -- the provider's, in capitals
    party_id      text NOT NULL,
    request_id    text NOT NULL,
    booking_id    bigint REFERENCES booking,     -- NULL: it was rejected
    cdr_id        bigint,                        -- ours, of what it cost without a session
    body          text NOT NULL,                 -- JSON: domain.roaming.bookings.PartnerBooking
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX partner_booking_request ON partner_booking (connection_id, country_code, party_id, lower(request_id));
CREATE UNIQUE INDEX partner_booking_ours ON partner_booking (booking_id) WHERE booking_id IS NOT NULL;

-- Documents of booking locations: where they are, and when they are free.
ALTER TABLE roaming_document ADD COLUMN location_id text;
ALTER TABLE roaming_document ADD COLUMN free tstzmultirange;
CREATE INDEX roaming_document_location ON roaming_document (tenant_id, module, lower(location_id)) WHERE location_id IS NOT NULL;

-- EVSEs of partners that can be booked, beside their documents in partner_object.
CREATE TABLE partner_bookable (
    object_key    bigint PRIMARY KEY,            -- partner_object.key
    tenant_id     integer NOT NULL REFERENCES tenant,
    connection_id bigint NOT NULL,
    country_code  text NOT NULL,
    party_id      text NOT NULL,
    id            text NOT NULL,
    location_key  text NOT NULL,                 -- Location.id, folded
    evse_key      text,                          -- EVSE uid, folded; NULL: by what it must have
    free          tstzmultirange NOT NULL,
    document      bytea NOT NULL
);
CREATE INDEX partner_bookable_place ON partner_bookable (tenant_id, country_code, party_id, location_key);
CREATE INDEX partner_bookable_id ON partner_bookable (tenant_id, country_code, party_id, lower(id));

-- Bookings of our drivers at partners' EVSEs.
CREATE TABLE asked_booking (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           integer NOT NULL REFERENCES tenant,
    connection_id       bigint NOT NULL,
    country_code        text NOT NULL,           -- the operator's, in capitals
    party_id            text NOT NULL,
    request_id          text NOT NULL,
    reference           text NOT NULL,           -- authorization_reference
    driver_id           bigint,
    id_token_id         bigint NOT NULL,
    booking_location_id text NOT NULL,
    location_id         text NOT NULL,
    evse_uid            text,
    starts_at           timestamptz NOT NULL,
    ends_at             timestamptz NOT NULL,
    state               text NOT NULL,           -- domain.roaming.bookings.AskedState
    asked               text NOT NULL,           -- domain.roaming.bookings.RequestStatus: of the last request
    request             bytea NOT NULL,          -- JSON: the last BookingRequest, as sent
    message             text,
    booking_id          text,                    -- the operator's
    document            bytea,                   -- JSON: the Booking as it was told last
    attempts            integer NOT NULL DEFAULT 0,
    due_at              timestamptz,             -- the request is sent again then
    requested_by        text NOT NULL,
    revision            integer NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX asked_booking_request ON asked_booking (tenant_id, country_code, party_id, lower(request_id));
CREATE INDEX asked_booking_newest ON asked_booking (tenant_id, id);
CREATE INDEX asked_booking_driver ON asked_booking (tenant_id, driver_id, id) WHERE driver_id IS NOT NULL;
CREATE INDEX asked_booking_due ON asked_booking (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE checked_cdr ADD COLUMN booking_id text;               -- the operator's, of the booking that it is about
CREATE INDEX checked_cdr_booking ON checked_cdr (tenant_id, lower(booking_id)) WHERE booking_id IS NOT NULL;
