"""What a server's own flags should be, by what was declared and by what was seen to happen.

TensorFlow Serving tells nobody its flags. The limits are reasons, not taste: each is where the
behaviour behind it begins to hold up a promotion, a rollback or callers.
"""

from control_plane.domain import symptoms
from control_plane.domain.assigned import traits_of
from control_plane.domain.finding import (
    Check,
    Facts,
    Finding,
    Place,
    ok,
    problem,
    tell,
    unknown,
)

QUICK_PICKUP_S, SLOW_PICKUP_S = 3.0, 10.0
LONG_RETRIES_S = 60.0
FEW_THREADS = 8  # two blocked reloads and two looks take four of them
HELD_S = 600.0  # a config that stood so long is not undone by a file that is read more often
REPLACED_WITHIN_S, REPLACED_TIMES = 3_600.0, 3
DEFAULT_RETRIES, DEFAULT_RETRY_US = 5, 60_000_000
_LABELS = "allow_version_labels_for_unavailable_models"
_LABELS_FIX = f"start the server with --{_LABELS}=true"
_REREADS = "model_config_file_poll_wait_seconds"
_REREADS_FIX = f"start the server without --{_REREADS}: the file undoes every config that we push"
_POLL = "file_system_poll_wait_seconds"
_POLL_FIX = f"start the server with --{_POLL}=1"
_RETRY_FIX = "start the server with --max_num_load_retries=0; the control plane tries again"
_LOAD_FIX = "start the server with --num_load_threads=2 --num_unload_threads=1"
_POOL_FIX = "start the server with --grpc_max_threads=32 or more"


def labels_flag(facts: Facts) -> Finding:
    """Whether labels may come back before their versions do, after a restart."""
    declared = facts.server.flags.allow_version_labels_for_unavailable_models
    refused = symptoms.label_refusal(facts.history)
    check = Check.LABELS_FLAG
    if declared and refused:
        return problem(check, f"declared as true, yet the server said: {refused}", _LABELS_FIX)
    if declared:
        return ok(check, "declared as true")
    if declared is False:
        found = "declared as false: after a restart labels wait for every load of the first push"
        return problem(check, found, _LABELS_FIX)
    if refused:
        return problem(check, f"the server said: {refused}", _LABELS_FIX)
    return unknown(check, "not declared; taken to be false", tell(facts, _LABELS, "true"))


def config_file_polling(facts: Facts) -> Finding:
    """Whether the server undoes our configs by reading its file again."""
    declared = facts.server.flags.model_config_file_poll_wait_seconds
    check, verified = Check.CONFIG_FILE_POLLING, facts.observed.verified
    if declared:
        return problem(check, f"declared: the file is applied every {declared:g} s", _REREADS_FIX)
    times = symptoms.replaced(facts.history, facts.now - REPLACED_WITHIN_S)
    if len(times) >= REPLACED_TIMES:
        found = f"our config was replaced {len(times)} times in the last hour"
        fix = f"{_REREADS_FIX}; or stop the other writer, who would look the same"
        return problem(check, found, fix)
    if declared == 0:
        return ok(check, "declared as off")
    held_s = facts.last_seen - verified.at if verified and verified.marker else 0.0
    if held_s >= HELD_S:
        return ok(check, f"our config has stood for {_minutes(held_s)}")
    return unknown(check, "not declared", tell(facts, _REREADS, "0"))


def file_poll(facts: Facts) -> Finding:
    """Whether the server looks for new versions, and soon enough."""
    declared = facts.server.flags.file_system_poll_wait_seconds
    check = Check.FILE_POLL
    if declared is not None and declared <= 0:
        found = f"declared as {declared:g}: new versions are never seen, and an added model blocks"
        return problem(check, f"{found} every later reload", _POLL_FIX)
    if declared is not None and declared > SLOW_PICKUP_S:
        found = f"declared as {declared:g} s: every load and every added model waits that long"
        return problem(check, found, _POLL_FIX)
    noticed = symptoms.undisturbed(facts.loads)
    slowest = max(noticed, key=lambda one: one.pickup_s, default=None)
    if slowest and slowest.pickup_s > SLOW_PICKUP_S:
        found = f"{slowest.name} was noticed {slowest.pickup_s:.0f} s after it was asked for"
        return problem(check, found, _POLL_FIX)
    if missed := overlooked(facts):
        return _unseen(missed, noticed=bool(noticed))
    if declared is not None:
        return ok(check, f"declared as {declared:g} s")
    if slowest and slowest.pickup_s <= QUICK_PICKUP_S:
        found = f"new versions were noticed within {slowest.pickup_s:.1f} s"
        return ok(check, f"{found} ({len(noticed)} seen)")
    return unknown(check, "not declared; taken to be 1 s", tell(facts, _POLL, "1"))


def _unseen(missed: tuple[str, float], *, noticed: bool) -> Finding:
    name, since_s = missed
    found = f"{name} was asked for {since_s:.0f} s ago, its files are there, and it is not listed"
    if noticed:
        return unknown(
            Check.FILE_POLL, f"{found}; others were noticed", "see what is found about its path"
        )
    fix = f"{_POLL_FIX}; if it has that, see what is found about paths"
    return problem(Check.FILE_POLL, found, fix)


def overlooked(facts: Facts) -> tuple[str, float] | None:
    """A version in the server's config that it never listed, and since when in seconds.

    Its files are complete as we see them, or we cannot see them.
    """
    intent, verified = facts.observed.intent, facts.observed.verified
    configs = [one.config for one in (intent, verified) if one is not None]
    pickup_s = traits_of(facts.server.flags, opaque=False).pickup_s
    for name, place in sorted(facts.places.items()):
        seen, asked = facts.observed.models.get(name, {}), facts.observed.added.get(name, {})
        for version in sorted(place.versions - set(seen)):
            listed = any(name in c.models and version in c.models[name].versions for c in configs)
            since_s = facts.now - asked.get(version, facts.now)
            if listed and since_s > pickup_s and _there(place, version):
                return f"{name} {version}", since_s
    return None


def _there(place: Place, version: int) -> bool:
    presence = place.presence
    return presence is None or presence.base_path is None or version in presence.complete


def load_retries(facts: Facts) -> Finding:
    """How long a load that fails keeps that to itself, and a reload blocked."""
    flags, check = facts.server.flags, Check.LOAD_RETRIES
    retries, pause_us = flags.max_num_load_retries, flags.load_retry_interval_micros
    if retries is not None and retries <= 0:
        return ok(check, "declared: a load is tried once")
    if retries is not None or pause_us is not None:
        tries = DEFAULT_RETRIES if retries is None else retries
        longest_s = tries * (DEFAULT_RETRY_US if pause_us is None else pause_us) / 1e6
        found = f"declared: {tries} retries, so a failing load says nothing for {longest_s:g} s"
        return (
            ok(check, found) if longest_s <= LONG_RETRIES_S else problem(check, found, _RETRY_FIX)
        )
    if failed := [one for one in facts.loads if one.failed]:
        worst = max(failed, key=lambda one: one.took_s)
        found = f"{worst.name} failed after {worst.took_s:.1f} s of LOADING"
        good = worst.took_s <= LONG_RETRIES_S
        return ok(check, found) if good else problem(check, found, _RETRY_FIX)
    found = "not declared; by default a failing load blocks reloads for five minutes"
    return unknown(check, found, tell(facts, "max_num_load_retries", "0"))


def load_threads(facts: Facts) -> Finding:
    """Whether one slow load stops everything else on the server."""
    flags, check = facts.server.flags, Check.LOAD_THREADS
    if flags.num_load_threads == 0 or flags.num_unload_threads == 0:
        which = "load" if flags.num_load_threads == 0 else "unload"
        found = f"declared as num_{which}_threads=0: one slow {which} stops all others"
        return problem(check, found, _LOAD_FIX)
    if flags.num_load_threads is not None:
        return ok(check, f"declared as {flags.num_load_threads}")
    if waited := symptoms.in_line(facts.loads):
        one, other = waited
        found = f"{one.name} waited {one.loading_at - one.shown_at:.0f} s for {other.name} to load"
        return problem(check, found, _LOAD_FIX)
    if pair := symptoms.side_by_side(facts.loads):
        return ok(check, f"{pair[0].name} and {pair[1].name} loaded at the same time")
    found = "not declared; taken to be 0: one slow load stops all others"
    return unknown(check, found, tell(facts, "num_load_threads", "2"))


def thread_pool(facts: Facts) -> Finding:
    """Whether the server has threads left for predictions when reloads hang."""
    declared, check = facts.server.flags.grpc_max_threads, Check.THREAD_POOL
    if text := symptoms.exhausted(facts.history):
        return problem(check, f"the server answered a reload: {text}", _POOL_FIX)
    if facts.observed.exhausted_at:
        ago = _minutes(facts.now - facts.observed.exhausted_at)
        return problem(check, f"the server had no thread for a look {ago} ago", _POOL_FIX)
    if declared is not None and declared < FEW_THREADS:
        found = f"declared as {declared}: a few hung reloads leave none for predictions"
        return problem(check, found, _POOL_FIX)
    if declared is not None:
        return ok(check, f"declared as {declared}")
    found = "not declared; by default 4 for each CPU, and it was never seen exhausted"
    return unknown(check, found, tell(facts, "grpc_max_threads", "32"))


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
