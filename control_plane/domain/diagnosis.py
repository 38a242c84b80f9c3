"""How a server was started, and whether that is good for it: facts in, findings out; pure."""

from collections.abc import Callable

from control_plane.domain import flag_checks
from control_plane.domain.finding import (
    STALE_S,
    Check,
    Facts,
    Finding,
    Place,
    ok,
    problem,
    unknown,
)
from control_plane.domain.flag_checks import overlooked
from control_plane.domain.symptoms import undisturbed

SKEW_S = 5.0
NOT_FOUND = 5  # gRPC's code in the error of a load that found no files
MOST_TOLD = 3  # models of which one finding tells
_REST_FIX = "start the server with --rest_api_port=8501, and check the port and the firewall"
_MONITORING_FIX = (
    "start the server with --monitoring_config_file=FILE, where FILE says "
    'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'
)
_REST_HOW = "tfsctl server change {} --rest-address HOST:PORT"


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return one finding for each check, in a fixed order."""
    checks: tuple[Callable[[Facts], Finding], ...] = (
        _reachability,
        flag_checks.labels_flag,
        flag_checks.config_file_polling,
        flag_checks.file_poll,
        flag_checks.load_retries,
        flag_checks.load_threads,
        flag_checks.thread_pool,
        _rest_port,
        _monitoring,
        _paths,
        _clock,
    )
    return tuple(check(facts) for check in checks)


def _reachability(facts: Facts) -> Finding:
    observed, address, check = facts.observed, facts.server.address, Check.REACHABILITY
    if observed.exhausted_at and not observed.reachable:
        found = f"{address} answers, but has no thread for us"
        return problem(check, found, "end what holds its threads, or restart it; see thread-pool")
    if observed.unreachable_since and not observed.reachable:
        fix = "see whether it runs and still starts up; check the address and the firewall"
        ago_s = facts.now - observed.unreachable_since
        return problem(check, f"{address} does not answer, for {ago_s:.0f} s", fix)
    if not facts.last_seen:
        return unknown(check, "nobody has looked at it yet", "ask again in a few seconds")
    if not facts.fresh:
        ago_s = facts.now - facts.last_seen
        found = f"it was last looked at {ago_s:.0f} s ago, and should be every {STALE_S:.0f} s"
        return unknown(check, found, "see whether a control plane runs: GET /readyz?verbose")
    return ok(check, f"{address} answers")


def _rest_port(facts: Facts) -> Finding:
    check, front, declared = Check.REST_PORT, facts.front, facts.server.flags.rest_api_port
    if front is not None and front.answers:
        return ok(check, f"{facts.server.rest_address} answers")
    if front is not None:
        found = f"{facts.server.rest_address} does not answer: {front.text}"
        return problem(check, found, _REST_FIX)
    if declared == 0:
        return problem(check, "declared as off: no metrics, and no clock to compare", _REST_FIX)
    found = "no REST address is declared"
    return unknown(check, found, f"`{_REST_HOW.format(facts.server.name)}`, if it has one")


def _monitoring(facts: Facts) -> Finding:
    check, front = Check.MONITORING, facts.front
    declared = facts.server.flags.monitoring_config_file
    if front is not None and front.metrics:
        return ok(check, "it exports its metrics")
    if front is not None and front.answers:
        found = f"no metrics at /monitoring/prometheus/metrics: {front.text}"
        return problem(check, found, _MONITORING_FIX)
    if declared == "":
        return problem(check, "declared as off", _MONITORING_FIX)
    if front is not None:
        return unknown(check, "its REST port does not answer", "see what is found about it")
    how = f"`{_REST_HOW.format(facts.server.name)}`, if it has one"
    return unknown(check, "no REST address is declared", how)


def _paths(facts: Facts) -> Finding:
    """Whether the server and we see the same files."""
    check = Check.PATHS
    if not facts.places:
        return unknown(check, "it should serve nothing yet", "deploy a model")
    for judge in (_unseen_by_us, _unseen_by_server):
        told = [one for each in sorted(facts.places.items()) if (one := judge(facts, *each))]
        if told:
            found = "; ".join(text for text, _ in told[:MOST_TOLD])
            more = len(told) - MOST_TOLD
            found += f"; and {more} more models" if more > 0 else ""
            return problem(check, found, told[0][1])
    if doubt := _unsure_of_paths(facts):
        return doubt
    told_by = "; storage is opaque to us" if _opaque(facts) else ""
    return ok(check, f"it has loaded all versions of {len(facts.places)} models{told_by}")


def _opaque(facts: Facts) -> bool:
    return not all(one.ours for one in facts.places.values())


def _unseen_by_us(facts: Facts, name: str, place: Place) -> tuple[str, str] | None:
    presence = place.presence
    if presence is None or presence.base_path is None:
        return None
    if not presence.base_path:
        loaded = any(facts.observed.available(name, one) for one in place.versions)
        theirs = f", though the server has loaded from {place.base_path}" if loaded else ""
        fix = f"mount the storage of {place.base_path} here, or say where it is: the fleet's "
        fix += "path_map (SERVER_PREFIX=OUR_PREFIX), or its storage: opaque"
        return f"we do not see {place.ours} of {name}{theirs}", fix
    for version, fault in sorted(presence.faults.items()):
        if version in place.versions:
            return f"{name} {version}: {fault}", f"complete the files under {place.ours}/{version}"
    return None


def _unseen_by_server(facts: Facts, name: str, place: Place) -> tuple[str, str] | None:
    fix = f"make {place.base_path} visible to the server, or correct the fleet's path_map"
    for version, seen in sorted(facts.observed.models.get(name, {}).items()):
        if version in place.versions and seen.failed and seen.error_code == NOT_FOUND:
            return f"the server says of {name} {version}: {seen.error}", fix
    alone = Facts(facts.now, facts.server, facts.observed, places={name: place})
    if (missed := overlooked(alone)) is None:
        return None
    which, since_s = missed
    found = f"the server does not list {which}, {since_s:.0f} s after it was asked to load it"
    if not undisturbed(facts.loads) and not facts.server.flags.file_system_poll_wait_seconds:
        fix += "; or it does not poll its files: see file-poll"
    return found, fix


def _unsure_of_paths(facts: Facts) -> Finding | None:
    """Whether something wanted is not loaded yet, or storage did not answer."""
    silent = [
        one.ours
        for one in facts.places.values()
        if one.ours and (one.presence is None or one.presence.base_path is None)
    ]
    if silent:
        found = f"storage did not answer in time at {silent[0]}"
        return unknown(Check.PATHS, found, "see whether that file system hangs, then ask again")
    missing = [
        f"{name} {version}"
        for name, place in sorted(facts.places.items())
        for version in sorted(place.versions)
        if not facts.observed.available(name, version)
    ]
    if not missing:
        return None
    found = f"the server has not loaded {missing[0]}, so whether it sees the files is not known"
    how = "take it over and deploy" if not facts.server.taken_over else "see `tfsctl server show`"
    return unknown(Check.PATHS, found, how)


def _clock(facts: Facts) -> Finding:
    """Whether its clock is ours, for whoever compares its logs and metrics with our events."""
    check, front = Check.CLOCK, facts.front
    if front is None or front.skew_s is None:
        found = "gRPC tells no time, and no REST port answers with a date"
        return unknown(check, found, f"`{_REST_HOW.format(facts.server.name)}`, if it has one")
    within_s = front.round_trip_s / 2 + 1.0
    found = f"{abs(front.skew_s):.0f} s {'ahead' if front.skew_s > 0 else 'behind'}"
    if abs(front.skew_s) - within_s > SKEW_S:
        return problem(check, found, "set the clocks of both machines by NTP")
    return ok(check, f"the same as ours, to within {abs(front.skew_s) + within_s:.0f} s")
