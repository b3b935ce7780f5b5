from chargeplane.edges.ocpp_server.admission import Occupancy, Throttle


def test_key_has_its_burst_and_then_gets_tokens_back_with_time() -> None:
    throttle = Throttle(2, 0.5)
    assert [throttle.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert not throttle.left("a", 1.9)
    assert throttle.left("a", 2.0)
    assert throttle.take("a", 2.0)
    assert not throttle.take("a", 2.0)


def test_keys_do_not_share_tokens() -> None:
    throttle = Throttle(1, 1.0)
    assert throttle.take("a", 0.0)
    assert throttle.left("b", 0.0)
    assert throttle.take("b", 0.0)


def test_tokens_never_exceed_the_burst() -> None:
    throttle = Throttle(2, 1.0)
    assert throttle.take("a", 0.0)
    assert [throttle.take("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_scan_from_many_addresses_allocates_no_more_than_the_bound() -> None:
    throttle = Throttle(1, 0.0)
    for number in range(25_000):
        throttle.take(number, 0.0)
    assert len(throttle) == 20_000
    assert throttle.left(0, 0.0)
    assert not throttle.left(24_999, 0.0)


def test_sockets_are_limited_in_all_and_per_address() -> None:
    occupancy = Occupancy(3, 2)
    assert occupancy.enter("a")
    assert occupancy.enter("a")
    assert not occupancy.enter("a")
    occupancy.leave("a")
    assert occupancy.enter("b")
    assert not occupancy.enter("c")
    occupancy.leave("c")
    occupancy.leave("a")
    assert occupancy.enter("a")
    assert occupancy.total == 3
