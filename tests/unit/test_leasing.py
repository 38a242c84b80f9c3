"""Terms of leases, and shares of fleets."""

import pytest

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.leasing import Terms, fair_share


@pytest.mark.parametrize(("ttl_s", "renew_s", "margin_s"), [(6, 2, 1), (5.1, 2, 1), (2, 0.5, 0.5)])
def test_who_could_not_renew_once_may_still_push(
    ttl_s: float, renew_s: float, margin_s: float
) -> None:
    terms = Terms(ttl_s, renew_s, margin_s)
    assert terms.demote_s < terms.ttl_s
    first_fails_s = terms.renew_s + terms.patience_s
    assert first_fails_s + terms.patience_s <= terms.ttl_s - terms.send_margin_s


@pytest.mark.parametrize(("ttl_s", "renew_s", "margin_s"), [(5, 2, 1), (1, 2, 1), (6, 2, 2)])
def test_a_lease_that_one_lost_renewal_would_end_is_refused_with_the_rule(
    ttl_s: float, renew_s: float, margin_s: float
) -> None:
    with pytest.raises(FieldInvalid, match=r"not above 2 × lease_renew_s \+ send_margin_s"):
        Terms(ttl_s, renew_s, margin_s)


@pytest.mark.parametrize(
    ("fleets", "replicas", "share"), [(0, 1, 0), (1, 3, 1), (4, 2, 2), (5, 2, 3), (10, 3, 4)]
)
def test_shares_cover_all_fleets_and_no_share_is_one_too_large(
    fleets: int, replicas: int, share: int
) -> None:
    assert fair_share(fleets, replicas) == share
    assert share * replicas >= fleets
    assert (share - 1) * replicas < fleets or not fleets
