"""Bugs of what people ask for: requests, changes of desired state, who may, what they are told."""

from tests.chaos.planted import Bug

REQUESTS = (
    Bug(
        "ack-before-commit",
        "a write is answered before it is committed",
        "api/deps.py",
        "            outcome = await use_case(self._committing(present))\n",
        "            import asyncio\n\n"
        "            answer = asyncio.get_running_loop().create_future()\n"
        "            keep = self._committing(present)\n\n"
        "            async def early(s: Session, outcome: T) -> None:\n"
        "                await keep(s, outcome)\n"
        "                answer.set_result(outcome)\n\n"
        "            doing = asyncio.ensure_future(use_case(early))\n"
        "            doing.add_done_callback(lambda one: one.exception())\n"
        "            either = (answer, doing)\n"
        "            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)\n"
        "            outcome = answer.result() if answer.done() else await doing\n",
        "tests.chaos.kills --runs 1 --only promote.before_commit --does raise --play promote",
        "There is no rollout",
    ),
    Bug(
        "if-match-ignored",
        "a change goes over one that its author has not seen",
        "services/changes.py",
        "    if actual != call.if_match:\n",
        "    if actual is None:\n",
        "tests/services/test_promote.py"
        "::test_a_deployment_that_changed_since_it_was_read_is_not_promoted",
        "DID NOT RAISE PreconditionFailed",
    ),
    Bug(
        "dry-run-writes",
        "a dry run is not undone",
        "api/deps.py",
        "            outcomes.append(outcome)\n            raise _Rehearsed\n",
        "            outcomes.append(outcome)\n",
        "tests/api/test_writes.py::test_a_dry_run_of_a_plain_write_is_undone",
        "KeyError: 'would'",
    ),
    Bug(
        "unregistered-promoted",
        "a label goes to a version that nobody registered",
        "domain/promotion.py",
        "    if unknown := sorted(set(wanted) - set(registered)):\n",
        "    if (unknown := sorted(set(wanted) - set(registered))) and not registered:\n",
        "tests/services/test_promote.py::test_an_unregistered_version_is_refused",
        "DID NOT RAISE VersionUnknown",
    ),
    Bug(
        "kept-version-dropped",
        "the version that a rollback would need is dropped with the promotion",
        "domain/promotion.py",
        "    return labelled | (current.versions & frozenset(previous)) | listed\n",
        "    return labelled | listed\n",
        "tests/services/test_promote.py"
        "::test_a_promotion_moves_the_label_and_keeps_the_version_before",
        r"frozenset\(\{2\}\) != frozenset\(\{1, 2\}\)",
    ),
    Bug(
        "rollback-one-too-far",
        "a rollback goes past the version before",
        "domain/promotion.py",
        "        if version != current and version not in bad and version in registered:\n"
        "            return version\n",
        "        if version != current and version not in bad and version in registered:\n"
        "            bad |= {version}\n"
        "            if len(bad) > 1:\n"
        "                return version\n",
        "tests/services/test_rollback.py::test_rolling_back_twice_goes_from_3_to_2_to_1",
        "assert 1 == 2",
    ),
    Bug(
        "rollback-to-bad",
        "a rollback goes to a version that somebody rolled back from",
        "domain/promotion.py",
        "        if version != current and version not in bad and version in registered:\n",
        "        if version != current and version in registered:\n",
        "tests/services/test_rollback.py::test_rolling_back_twice_goes_from_3_to_2_to_1",
        "assert 3 == 1",
    ),
    Bug(
        "failed-promotion-trusted",
        "a version that was never verified becomes one to go back to",
        "domain/advance.py",
        "verify=good and _proven(done)",
        "verify=True",
        "tests/services/test_rollback.py::test_a_failed_promotion_is_never_a_target",
        "assert 3 == 1",
    ),
    Bug(
        "hold-ignored",
        "a service promotes what was rolled back from",
        "services/holds.py",
        "    if against and by.automatic:\n",
        "    if against and not by.actor:\n",
        "tests/services/test_holds.py::test_a_service_may_not_promote_what_was_rolled_back_from",
        "DID NOT RAISE Held",
    ),
    Bug(
        "supersede-forgets-the-past",
        "who takes over from a rollout goes back to what that one had not finished",
        "services/changes.py",
        "        floors.append(one.from_revision)\n",
        "        floors.append(one.to_revision)\n",
        "tests/services/test_promote.py"
        "::test_a_superseding_promotion_goes_back_to_where_the_first_began",
        "assert 3 == 1",
    ),
    Bug(
        "superseded-stays-live",
        "a rollback leaves the promotion that it takes over from alive",
        "services/changes.py",
        "        await rollouts.save(s, one, over.rollout)\n",
        "",
        "tests/services/test_rollback.py::test_a_rollback_supersedes_a_live_promotion",
        "RolloutInFlight: The rollout r3 of m is live",
    ),
    Bug(
        "freeze-stops-rollback",
        "a rollback follows the strategy, with its freezes and gates",
        "domain/strategy.py",
        "    if strategy == DIRECT.strategy or kind not in (Kind.PROMOTE, Kind.DEPLOY):\n",
        "    if strategy == DIRECT.strategy:\n",
        "tests/unit/test_strategy.py::test_only_what_goes_forward_follows_a_strategy",
        r"StepName\.(BAKE|CANARY|GATE)",
    ),
    Bug(
        "restore-skips-digests",
        "a restore takes files that are not those that were registered",
        "services/guards.py",
        "            if now != one.digest:\n",
        "            if not now:\n",
        "tests/api/test_evidence.py::test_a_restore_refuses_files_that_changed_and_shows_its_plan",
        '"kind":"restore"',
    ),
    Bug(
        "token-by-its-id",
        "a token is taken by its id, whatever its secret",
        "services/access.py",
        "not hmac.compare_digest(token.sha256, digest)",
        "not hmac.compare_digest(token.sha256[:0], digest[:0])",
        "tests/api/test_access.py::test_a_token_with_another_secret_is_refused",
        "assert 200 == 401",
    ),
    Bug(
        "revoked-token-lives",
        "a token that was revoked is still taken",
        "services/access.py",
        "    return token.revoked_at is None and (",
        "    return (",
        "tests/api/test_access.py::test_a_revoked_or_expired_token_is_believed_for_seconds_only",
        "DID NOT RAISE NotAuthenticated",
    ),
    Bug(
        "stream-skips",
        "a stream that resumes skips an event",
        "services/history.py",
        "    return Place(int(asked), first, last)\n",
        "    return Place(int(asked) + 1, first, last)\n",
        "tests/api/test_events.py::test_a_stream_resumes_after_the_last_event_that_was_seen",
        "TimeoutError",
    ),
    Bug(
        "resolve-stale",
        "who wrote reads from memory what was before",
        "services/resolve.py",
        "        self.doubted = True\n\n    async def settle",
        "        self.doubted = False\n\n    async def settle",
        "tests/faults/test_replicas.py::test_whoever_wrote_reads_what_it_wrote_at_once",
        "KeyError: 'version'",
    ),
    Bug(
        "drained-still-asked",
        "callers are sent to a server that was drained",
        "services/predict.py",
        "    answering = [one for one in awake if one.drain is None]\n",
        "    answering = awake\n",
        "tests/api/test_predict.py::test_a_drained_server_is_skipped",
        "predictions",
    ),
    Bug(
        "outage-removes-servers",
        "servers leave because their source could not be looked up",
        "domain/discovery.py",
        "    if answer.fault:\n        return Conclusion(watch, answer.fault)\n",
        "",
        "tests/unit/test_discovery.py::test_nobody_leaves_while_the_source_cannot_be_looked_up",
        "DNS did not answer",
    ),
    Bug(
        "source-epoch-not-checked",
        "who was overtaken as a leader registers and removes servers",
        "services/discovery.py",
        "        await leases.check(s, source.fleet, epoch)\n",
        "",
        "tests/store/test_sources.py::test_only_the_leader_writes_what_was_found",
        "DID NOT RAISE LeaseLost",
    ),
)
