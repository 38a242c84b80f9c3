"""Planners that are wrong on purpose. Each must be caught by the tests of the rules."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One edit of one module of the domain."""

    wrong: str  # what it gets wrong
    module: str
    before: str
    after: str


MUTANTS = (
    Mutant(
        "moves a label to a version that is not AVAILABLE",
        "model_plan",
        "if target in held.versions and view.available(target):",
        "if target in held.versions:",
    ),
    Mutant(
        "moves a label to a version that never answered",
        "model_plan",
        "    if one.able is None:\n",
        "    if one.able is None:\n        return None\n    if one.able is None:\n",
    ),
    Mutant(
        "keeps a label whose version is gone in the next config",
        "model_plan",
        "if version in self.held.versions and self.may_hold(label, version)",
        "if version in self.held.versions",
    ),
    Mutant(
        "drops the old version in the push that loads the new one",
        "model_plan",
        "entry = ModelConfig(held.base_path, held.versions | more, labels)",
        "entry = ModelConfig(held.base_path, want.versions | more, labels)",
    ),
    Mutant(
        "drops before the wanted versions are AVAILABLE",
        "model_plan",
        "steps = (_move, _load, _retry, _await, _drop, _finish)",
        "steps = (_move, _load, _drop, _retry, _await, _finish)",
    ),
    Mutant(
        "takes a labelled name out in one step",
        "model_plan",
        "    if view.labels:\n        return Change(\n",
        "    if False:\n        return Change(\n",
    ),
    Mutant(
        "takes a name out while a version is in START",
        "model_plan",
        "COMING = (State.START, State.LOADING)",
        "COMING = (State.LOADING,)",
    ),
    Mutant(
        "sends versions that storage shows to be incomplete",
        "model_plan",
        "    return versions & view.presence.complete\n",
        "    return versions\n",
    ),
    Mutant(
        "adds a name whose base path is missing",
        "model_plan",
        "if presence is not None and presence.base_path is False:",
        "if presence is not None and presence.base_path is None and False:",
    ),
    Mutant(
        "loads though a base path of the running config is gone",
        "model_plan",
        "        return None\n    if view.ground.missing:\n",
        "        return None\n    if view.ground.missing == view.name:\n",
    ),
    Mutant(
        "adds a version again before the drop has settled",
        "model_plan",
        "        if now < since + traits.settle_s:\n",
        "        if now < since:\n",
    ),
    Mutant(
        "adds a version again while an inline load runs",
        "model_plan",
        "        if traits.inline_loads and view.ground.loading:\n",
        "        if view.ground.loading and not traits.inline_loads:\n",
    ),
    Mutant(
        "waits for ever for a START that never moves",
        "model_plan",
        "    return one.state is State.START and view.ground.now >=",
        "    return one.state is State.UNKNOWN and view.ground.now >=",
    ),
    Mutant(
        "believes an END from before the push",
        "model_plan",
        "    return fresh or view.ground.now >= added + view.ground.traits.settle_s\n",
        "    return True\n",
    ),
    Mutant(
        "never tries a failed version again",
        "model_plan",
        "    hopeful = view.seen[version].served or version in want.elsewhere\n",
        "    hopeful = False\n",
    ),
    Mutant(
        "asks for proof before it restores a label",
        "model_plan",
        "    if label not in view.labels and view.proven.get(label) == target:\n",
        "    if label in view.labels and view.proven.get(label) == target:\n",
    ),
    Mutant(
        "adds all versions at once after a restart",
        "model_plan",
        "    first = frozenset(want.labels.values()) or want.versions\n",
        "    first = want.versions\n",
    ),
    Mutant(
        "pushes while an intent is open",
        "admission",
        "    if observed.intent:\n        return _open(",
        "    if observed.intent and False:\n        return _open(",
    ),
    Mutant(
        "pushes to a server that nobody took over",
        "admission",
        "    if not assignment.taken_over:\n",
        "    if not assignment.owner:\n",
    ),
    Mutant(
        "takes an unreachable server for an empty one",
        "admission",
        "    if not observed.reachable:\n",
        "    if observed.unreachable_since and not observed.models:\n",
    ),
    Mutant(
        "sends the empty list without an undeploy",
        "planner",
        "    if not push.config.models and not assignment.may_empty:\n",
        "    if not push.config.models and not assignment.owner:\n",
    ),
    Mutant(
        "undoes a foreign config at once",
        "admission",
        "    if strange and observed.verified is None and now < quiet_at:\n",
        "    if strange and observed.verified is None and now < 0:\n",
    ),
    Mutant(
        "moves labels and adds in one push",
        "planner",
        "    ranks = _sharing({one.rank for one in changes.values()})\n",
        "    ranks = tuple(Rank)\n",
    ),
    Mutant(
        "sends any number of adds",
        "planner",
        "ADDS_PER_PUSH = 8",
        "ADDS_PER_PUSH = 80",
    ),
    Mutant(
        "restores labels in a push after the one that moves the others of their group",
        "planner",
        "        return (best, Rank.RESTORE)\n",
        "        return (best,)\n",
    ),
    Mutant(
        "counts versions of names that are there as adds",
        "planner",
        "    names = [name for name in sure if chosen[name].rank is Rank.ADD]\n",
        "    names = sure\n",
    ),
    Mutant(
        "lets a drop wait for new names",
        "planner",
        "if best is Rank.LOAD and Rank.DROP not in ranks else (best,)",
        "if best is Rank.LOAD else (best,)",
    ),
    Mutant(
        "loads a group in as many pushes as it was dropped in",
        "planner",
        "    actions = _loads_together(assignment, actions)\n",
        "",
    ),
    Mutant(
        "leaves out models that have nothing to do",
        "planner",
        "    models = {name: held for name, held in others if held} | dict(steady)\n",
        "    models = dict(steady)\n",
    ),
    Mutant(
        "piles calls up on a server that does not answer them",
        "admission",
        "    if len(running) >= CALLS_THAT_MAY_RUN:\n",
        "    if len(running) > CALLS_THAT_MAY_RUN:\n",
    ),
    Mutant(
        "flips one model of a group before the others",
        "planner",
        "    actions = _whole_groups(assignment, actions)\n",
        "",
    ),
    Mutant(
        "takes an answered reload for an applied one",
        "evidence",
        "    if seen or (intent.marker is None and listed):\n",
        "    if listed:\n",
    ),
    Mutant(
        "forgets a lost call at once",
        "evidence",
        "    if seen or look.at < reached + settle_s:\n",
        "    if seen:\n",
    ),
    Mutant(
        "keeps an open intent across a restart",
        "evidence",
        "    return Observed(\n        proven=_proven(observed),\n        ghosts=ghosts,",
        "    return replace(\n        observed,\n        verified=None,\n        ghosts=ghosts,",
    ),
    Mutant(
        "forgets that its last push may have met the new process",
        "evidence",
        "    ghosts = (observed.intent,) if observed.intent else ()\n",
        "    ghosts = ()\n",
    ),
    Mutant(
        "trusts a config without a marker though the server may have restarted",
        "questions",
        "        if observed.verified.marker is None:",
        "        if observed.verified is None:",
    ),
    Mutant(
        "does not notice that its marker is gone",
        "evidence",
        "    ours = answer is None or (\n",
        "    ours = answer is None or isinstance(answer, Resolved | LabelAnswer) or (\n",
    ),
    Mutant(
        "adds what it suspects beside the others",
        "quarantine",
        "        if clean := versions - suspects.keys():\n            return clean, False\n",
        "        if versions:\n            return versions, False\n",
    ),
    Mutant(
        "adds a suspect while others are under way",
        "quarantine",
        "    return isinstance(action, Wait)\n",
        "    return False\n",
    ),
    Mutant(
        "tries all suspects at once",
        "quarantine",
        "        return frozenset(tried[:1]), True\n",
        "        return frozenset(tried), True\n",
    ),
    Mutant(
        "tries what brings the server down for ever",
        "quarantine",
        "suspects[version].weight < ENOUGH",
        "suspects[version].weight",
    ),
    Mutant(
        "suspects whatever waited for the version that was loading",
        "quarantine",
        "crashed = _in_state(observed, State.LOADING) or _in_state(observed, State.START)",
        "crashed = _in_state(observed, State.LOADING) + _in_state(observed, State.START)",
    ),
    Mutant(
        "suspects the names of a push that a restart met early",
        "quarantine",
        "if intent is None or observed.at < intent.sent_at + 2 * settle_s:",
        "if intent is None:",
    ),
    Mutant(
        "does not let off what a person let off",
        "quarantine",
        "if one.at > said_at}",
        "}",
    ),
    Mutant(
        "pushes to a fleet that only alerts",
        "drift",
        'if assignment.on_drift == "alert":',
        "if False:",
    ),
    Mutant(
        "puts ours back for ever",
        "drift",
        "if len(recent) >= FLIPS_THAT_PAUSE:",
        "if False:",
    ),
    Mutant(
        "counts the flips of all times",
        "drift",
        "recent = [one for one in flips if one.at > flips[-1].at - WITHIN_S]",
        "recent = list(flips)",
    ),
    Mutant(
        "does not count what a person let off",
        "drift",
        "flips = tuple(one for one in observed.flips if one.at > said_at)",
        "flips = observed.flips",
    ),
    Mutant(
        "takes up what still moves",
        "drift",
        "    if now < quiet_at:\n        why",
        "    if False:\n        why",
    ),
)
