-- Bookings: an EVSE for an interval.

CREATE TABLE booking_policy (
    tenant_id   integer PRIMARY KEY REFERENCES tenant,
    body        text NOT NULL,                  -- JSON: domain.bookings.policy.BookingPolicy
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE booking (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    evse_key        bigint NOT NULL REFERENCES evse,
    connector_id    text,
    standard        text,                       -- of the connector that was booked: what an equal EVSE must have
    power_w         integer NOT NULL DEFAULT 0, -- the same: at least
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    blocked_until   timestamptz NOT NULL,       -- with the buffer to the next booking
    -- One stretch of 2^32 seconds for each EVSE, so that bookings of different EVSEs never overlap: exclusion with ranges alone.
    held            int8range GENERATED ALWAYS AS (int8range(
        (evse_key << 32) + floor(extract(epoch FROM starts_at AT TIME ZONE 'UTC'))::bigint,
        (evse_key << 32) + ceil(extract(epoch FROM blocked_until AT TIME ZONE 'UTC'))::bigint)) STORED,
    state           text NOT NULL,              -- domain.bookings.states.BookingState
    reason          text,
    id_token        text NOT NULL,
    id_token_type   text,
    token_key       text NOT NULL,              -- id_token case-folded
    group_id        text,
    driver_id       text,
    terms           text NOT NULL,              -- JSON: domain.bookings.terms.BookingTerms, frozen
    tariff_id       text,                       -- frozen
    tariff_version  integer,
    price           text,                       -- JSON: kernel.money.Money, as estimated
    may_move        boolean NOT NULL,
    moved_from      text[] NOT NULL DEFAULT '{}', -- uids of EVSEs, the first one first
    confirm_by      timestamptz,                -- while it is only created
    announce_at     timestamptz NOT NULL,       -- load management and displays are told
    ask_at          timestamptz NOT NULL,       -- the station is asked
    no_show_at      timestamptz NOT NULL,       -- nobody came
    announced_at    timestamptz,
    kept_at         timestamptz,                -- the first time that it was known to be kept, by the station or by us
    kept_by         text,                       -- station, us
    walk_in         bigint,                     -- transaction of somebody else that was warned
    walk_in_stopped bigint,                     -- the same, stopped
    display_number  integer,                    -- of the message on the station's display
    transaction_id  bigint,
    used_at         timestamptz,
    ended_at        timestamptz,
    charges         text NOT NULL DEFAULT '[]', -- JSON: domain.bookings.fees.BookingCharge[]
    due_at          timestamptz,                -- when it is looked at next
    revision        integer NOT NULL DEFAULT 1,
    requested_by    text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (evse_key > 0 AND evse_key < 2147483647),
    CHECK (starts_at < ends_at AND ends_at <= blocked_until),
    CHECK (starts_at >= '1970-01-01Z' AND blocked_until < '2106-01-01Z'),
    CONSTRAINT booking_one_at_a_time EXCLUDE USING gist (held WITH &&)
        WHERE (state IN ('created', 'confirmed', 'active', 'used'))
);
CREATE INDEX booking_newest ON booking (tenant_id, id);
CREATE INDEX booking_evse ON booking (evse_key, starts_at) WHERE state IN ('created', 'confirmed', 'active', 'used');
CREATE INDEX booking_evse_history ON booking (evse_key, starts_at);
CREATE INDEX booking_token ON booking (tenant_id, token_key, id);
CREATE INDEX booking_driver ON booking (tenant_id, driver_id, id) WHERE driver_id IS NOT NULL;
CREATE INDEX booking_transaction ON booking (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX booking_due ON booking (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX booking_running ON booking (state, id) WHERE state IN ('active', 'used');

-- What a station is to keep for a booking, or to give free: a row of `reservation` with what is to be done about it.
CREATE TABLE booking_hold (
    reservation_id  bigint PRIMARY KEY REFERENCES reservation ON DELETE CASCADE,
    booking_id      bigint NOT NULL REFERENCES booking,
    tenant_id       integer NOT NULL,
    station_key     bigint NOT NULL,
    evse_id         integer NOT NULL,
    number          integer NOT NULL,           -- the station knows it by
    wanted          boolean NOT NULL,           -- false: to be given free
    kept_at         timestamptz,                -- the station has said so
    asked_until     timestamptz,                -- a ReserveNow without an answer may be sent until then
    refusals        integer NOT NULL DEFAULT 0,
    due_at          timestamptz,
    over_at         timestamptz,                -- nothing is to be done any more
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX booking_hold_wanted ON booking_hold (booking_id) WHERE wanted;
CREATE INDEX booking_hold_due ON booking_hold (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX booking_hold_booking ON booking_hold (booking_id);
