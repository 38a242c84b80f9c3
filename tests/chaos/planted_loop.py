"""Bugs of what keeps servers as they should be: leadership, passes, rollouts, hooks, files."""

from tests.chaos.planted import Bug

_LOST = "tests/faults/test_lost_answers.py"
_RESTARTS = "tests/scenario/test_restarts.py"

LOOP = (
    Bug(
        "lease-from-the-answer",
        "a lease is counted from the database's answer, which may be late",
        "reconcile/leader.py",
        "{one.fleet: _Held(one, asked_at) for one in kept}",
        "{one.fleet: _Held(one, self._monotonic()) for one in kept}",
        "tests/faults/test_leadership.py::test_a_lease_is_counted_from_before_it_was_asked_for",
        r"assert 4.0 == \(4.0 - 3.0\)",
    ),
    Bug(
        "send-without-lease",
        "who froze for longer than its lease sends its reload all the same",
        "reconcile/leader.py",
        "        return self.left_s(fleet) >= self._terms.send_margin_s\n",
        "        return fleet in self._held\n",
        "tests/faults/test_leader_kills.py"
        "::test_a_leader_that_froze_before_it_sent_sends_nothing_when_it_comes_back",
        "still False",
    ),
    Bug(
        "leases-kept-at-the-end",
        "who ends keeps its leases until they run out",
        "reconcile/loop.py",
        "                await world.leadership.leave()\n",
        "",
        "tests/faults/test_replicas.py"
        "::test_fleets_are_spread_over_replicas_and_those_of_one_that_ends_are_taken_at_once",
        "still ok: leads 2 of 5 fleets",
    ),
    Bug(
        "intent-not-committed",
        "a reload is sent before it is written down",
        "reconcile/server.py",
        "        await _write(world, it, known, plan, desired.fleet.head)\n",
        "        del plan, desired\n",
        "tests.chaos.kills --runs 2 --only push.answered --play cold",
        "our marker stands beside a config that is not ours",
    ),
    Bug(
        "open-intent-forgotten",
        "a successor forgets a reload that was open, and does not look what it did",
        "reconcile/led.py",
        "    return replace(observed, intent=lost)\n",
        "    return replace(observed, intent=None if lost else None)\n",
        f"{_LOST}::test_a_successor_finds_out_what_an_open_reload_did",
        "moving labels: 0 of 1",
    ),
    Bug(
        "flip-after-rollback",
        "a reload that was made ready before a rollback goes out after it",
        "reconcile/recorder.py",
        "                if (await fleets.fleet(s, fleet)).head != head:\n",
        "                if (await fleets.fleet(s, fleet)).head < head:\n",
        "tests/faults/test_records.py"
        "::test_a_push_that_was_made_from_an_older_revision_is_not_written",
        "DID NOT RAISE DesiredMoved",
    ),
    Bug(
        "old-desire-read",
        "a pass gets a read of the desired state that began before the last change",
        "reconcile/desired.py",
        " or self._asked[fleet] != self._doubts[fleet]:\n",
        ":\n",
        "tests/faults/test_records.py"
        "::test_who_doubts_what_is_desired_gets_a_read_that_began_later",
        "assert 1 == 2",
    ),
    Bug(
        "status-written-once",
        "what could not be written of a server is not written later",
        "reconcile/server.py",
        "    kept = len(it.events)\n",
        "    kept = len(it.events)\n"
        "    it.recorded, it.status, it.unwritten = known, status, False\n",
        "tests/faults/test_records.py::test_a_status_that_could_not_be_written_is_written_later",
        r"still \[.*'ready'\]",
    ),
    Bug(
        "steady-for-ever",
        "nothing is sent again to a server that restarted",
        "reconcile/server.py",
        "    return not waited_for and it.observed.says(before)\n",
        "    return not waited_for\n",
        f"{_RESTARTS}::test_a_restarted_server_gets_its_versions_and_labels_back",
        "AssertionError: still",
    ),
    Bug(
        "calls-pile-up",
        "more and more calls are open to a server that does not answer them",
        "serving/client.py",
        "        self._control = asyncio.Semaphore(_CONTROL_SLOTS)\n",
        "        self._control = asyncio.Semaphore(_CONTROL_SLOTS * 100)\n",
        "tests/contract/test_client.py::test_no_more_than_two_calls_are_open_at_a_time",
        r"assert \(8, [3-8]\) == \(8, 2\)",
    ),
    Bug(
        "hung-server-blocks",
        "the passes of all servers wait for a hung one",
        "reconcile/queue.py",
        "            after_s = await self._work(key)\n",
        "            self._one = getattr(self, '_one', None) or asyncio.Lock()\n"
        "            async with self._one:\n"
        "                after_s = await self._work(key)\n",
        "tests/faults/test_queue.py::test_a_key_has_one_pass_at_a_time_and_another_after_a_nudge",
        "{'b': 1}",
    ),
    Bug(
        "partial-view",
        "while a rollout is live, other models are left out of the configs that are sent",
        "reconcile/desired.py",
        "        {model: one for model, (one, _) in heads.items()},\n",
        "        {\n"
        "            model: one\n"
        "            for model, (one, _) in heads.items()\n"
        "            if not live or any(model in some.rollout.models for some in live)\n"
        "        },\n",
        "tests.chaos --calm --seconds 6 --rate 20 --clients 2 --servers 2",
        "S10 at .*: a push leaves out",
    ),
    Bug(
        "files-not-looked-at",
        "a version goes out before its files are complete",
        "reconcile/server.py",
        "await world.storage.presence(place, versions) if place else Presence()",
        "Presence()",
        "tests/scenario/test_bad_versions.py::test_a_corrupt_version_fails_its_rollout_before_any_label_moves",
        "{2: 'END'}",
    ),
    Bug(
        "moves-before-all-loaded",
        "labels move when the first server has loaded the version",
        "domain/reach.py",
        "        return self.witnessed and len(away) == len(self.waited_for) <= max(spare, 0)\n",
        "        return self.witnessed\n",
        "tests/unit/test_advance.py::test_labels_wait_until_every_server_has_loaded",
        "StepName.PROMOTE: 'promote'> is <StepName.LOAD",
    ),
    Bug(
        "dropped-before-linger",
        "the version before is dropped before its time to linger is over",
        "domain/steps.py",
        "    if step.name not in (StepName.BAKE, StepName.DRAIN):\n",
        "    if step.name is not StepName.BAKE:\n",
        "tests/unit/test_advance_strategies.py"
        "::test_draining_takes_its_time_before_anything_is_dropped",
        r"frozenset\(\{2\}\) == frozenset\(\{1, 2\}\)",
    ),
    Bug(
        "result-without-its-event",
        "that a hook ended is told in another transaction than the one that ends it",
        "reconcile/hook_runner.py",
        "            if run.state.over and run.moment is not Moment.ON_EVENT:\n"
        "                await journal.append(s, _event(run))\n"
        '                await failpoint("hook.before_result")\n',
        "        if run.state.over and run.moment is not Moment.ON_EVENT:\n"
        '            await failpoint("hook.before_result")\n'
        "            async with self._ground.db.begin() as s:\n"
        "                await journal.append(s, _event(run))\n",
        "tests.chaos.kills --runs 1 --only hook.before_result",
        "succeeded, and the journal does not tell",
    ),
    Bug(
        "hook-id-changes",
        "a hook that is tried again after a crash has another id",
        "domain/hook_runs.py",
        "    return hashlib.sha256(key.encode()).hexdigest()[:32]\n",
        "    import secrets\n\n    return hashlib.sha256(key.encode()).hexdigest()[:8]"
        " + secrets.token_hex(12)\n",
        "tests/unit/test_hook_runs.py"
        "::test_the_same_run_has_the_same_id_and_every_other_one_another",
        "Extra items in the left set",
    ),
    Bug(
        "hooks-hold-rollbacks",
        "a rollback waits for hooks",
        "domain/moments.py",
        "    if rollout.kind is Kind.ROLLBACK:\n        return None\n    for moment",
        "    for moment",
        "tests/unit/test_advance_strategies.py::test_no_hook_holds_a_rollback",
        r"Phase\.(WAITING|ROLLED_BACK): .* is <Phase\.SUCCEEDED",
    ),
    Bug(
        "hook-follows-redirects",
        "a hook follows its target to wherever that sends it",
        "serving/hook_calls.py",
        "follow_redirects=False",
        "follow_redirects=True",
        "tests/faults/test_hooks.py::test_a_redirect_is_not_followed",
        "answered 200",
    ),
    Bug(
        "hook-children-survive",
        "what a command of a hook started outlives it",
        "serving/commands.py",
        "                os.kill(pid, signal.SIGKILL)\n",
        "                os.kill(pid, 0)\n",
        "tests/faults/test_hooks.py::test_children_left_behind_by_a_command_that_ended_are_killed",
        "assert False",
    ),
    Bug(
        "boot-file-in-place",
        "a file that a server boots from is written in place",
        "serving/boot_file.py",
        '    aside = file.with_name(f"{_ASIDE}{secrets.token_hex(4)}")\n    try:\n',
        '    aside = file.with_name(f"{_ASIDE}{secrets.token_hex(4)}")\n'
        "    file.write_bytes(content)\n    try:\n",
        "tests/unit/test_boot.py"
        "::test_who_reads_while_it_is_written_sees_one_whole_text_or_the_other",
        "Extra items in the left set",
    ),
    Bug(
        "boot-file-with-the-lost",
        "a file that a server boots from names versions that it could not load",
        "reconcile/boot.py",
        "    return found.base_exists and isinstance(found.versions.get(version), Complete)\n",
        "    return found.base_exists\n",
        "tests/scenario/test_boot_configs.py"
        "::test_a_server_boots_without_the_model_whose_files_went_bad",
        r"'scaled': \(\[1\]",
    ),
    Bug(
        "marker-adopted",
        "our own markers are taken for labels of somebody else",
        "domain/adoption.py",
        "        if version in versions and not label.startswith(MARKER_PREFIX)\n",
        "        if version in versions\n",
        "tests/unit/test_adoption.py::test_labels_that_dangle_and_our_markers_are_left_out",
        "'_cp_0123': 1",
    ),
    Bug(
        "half-adopted",
        "what somebody else is still loading is taken up as it is at that moment",
        "domain/adoption.py",
        "    if moving:\n        return moving[0]\n",
        "",
        "tests/unit/test_adoption.py"
        "::test_nothing_is_taken_while_it_moves_and_never_nothing_at_all",
        "a 2 is LOADING",
    ),
    Bug(
        "foreign-labels-unseen",
        "a label that somebody moved beside our markers is not asked for",
        "reconcile/sight.py",
        "for name in turn for label in sorted(models[name].labels))\n",
        "for name in turn for label in sorted(models[name].labels) if not name)\n",
        "tests/scenario/test_drift.py"
        "::test_a_label_that_somebody_moved_beside_our_markers_is_seen_by_the_sweep",
        r"still \(\)",
    ),
    Bug(
        "ready-while-ending",
        "who is told to end says that it is ready",
        "services/feed.py",
        "        self.closed = True\n",
        "        self.closed = False\n",
        "tests/api/test_system.py::test_a_process_that_ends_is_not_ready",
        "assert 200 == 503",
    ),
)
