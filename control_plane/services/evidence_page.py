"""The evidence of a rollout as one HTML file: no script, nothing loaded, everything escaped."""

import json
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere }
th { background: #f4f5f7 } pre { background: #f4f5f7; padding: .6rem; overflow-x: auto;
     white-space: pre-wrap; font-size: 13px; margin: .3rem 0 }
.phase { padding: .1rem .5rem; border-radius: .5rem; background: #e7eaee; font-weight: 600 }
.succeeded, .pass, .OK { background: #d5f0dc } .failed, .rolled_back, .aborted, .fail, .breaking {
  background: #fbd9d7 } .hold { background: #fdf0c8 } code { overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e8ea }
  th, pre { background: #22272c } th, td { border-color: #3a4047 } .phase { color: #14171a } }
"""
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evidence of rollout {{ rollout.id }}</title><style>{{ style }}</style></head><body>
{%- macro facts(value) %}<pre>{{ value | pretty }}</pre>{% endmacro %}
{%- macro chip(word) %}<span class="phase {{ word }}">{{ word }}</span>{% endmacro %}
{%- macro time(at) %}{% if at %}<time datetime="{{ at }}">{{ at }}</time>{% else %}–{% endif %}
{%- endmacro %}
<h1>Rollout {{ rollout.id }}: {{ rollout.kind }} of {{ rollout.models | join(", ") }}
{{ chip(rollout.phase) }}</h1>
<p>{{ rollout.sentence }}</p>
{% if not complete %}<p><strong>The rollout is live: this is the evidence so far.</strong></p>
{% endif %}
<table>
<tr><th scope="row">fleet</th><td>{{ rollout.fleet }}</td></tr>
<tr><th scope="row">label</th><td>{{ rollout.label or "–" }}</td></tr>
<tr><th scope="row">who</th><td>{{ rollout.actor }}</td></tr>
<tr><th scope="row">why</th><td>{{ rollout.reason or "–" }}</td></tr>
<tr><th scope="row">begun</th><td>{{ time(rollout.created_at) }}</td></tr>
<tr><th scope="row">ended</th><td>{{ time(rollout.ended_at) }}
{% if timings.took_s is not none %}after {{ timings.took_s }} s{% endif %}</td></tr>
<tr><th scope="row">revisions</th>
<td>{{ rollout.from_revision }} → {{ rollout.to_revision }}</td></tr>
<tr><th scope="row">strategy</th>
<td>{{ rollout.strategy.name }} (edit {{ rollout.strategy.number }})</td></tr>
{% if rollout.error %}<tr><th scope="row">TensorFlow Serving said</th>
<td><pre>{{ rollout.error }}</pre></td></tr>{% endif %}
{% if rollout.laggards %}<tr><th scope="row">left behind</th>
<td>{{ rollout.laggards | join(", ") }}</td></tr>{% endif %}
</table>
<h2>What it changes</h2>
<table><tr><th>model</th><th>before</th><th>after</th></tr>
{% for model, after in deployments.after.items() %}
<tr><td>{{ model }}</td><td>{{ facts(deployments.before[model]) }}</td><td>{{ facts(after) }}</td>
</tr>{% endfor %}</table>
<h2>Plan</h2>
{% if plan %}<p>Worked out {% if plan.agreed %}for whoever started it by its hash{% else %}when the
rollout was taken up{% endif %}, {{ time(plan.made_at) }}, from what was observed of the servers
until then{% if plan.reloads_before %}; {{ plan.reloads_before }} reloads had gone out
already{% endif %}. Hash: <code>{{ plan.plan_hash }}</code></p>
<p>Way back: {{ plan.rollback or "none" }}. Estimated time: {{ plan.eta_s }} s.</p>
{% for one in plan.warnings %}<p><strong>Warning:</strong> {{ one }}</p>{% endfor %}
<table><tr><th>step</th><th>what it asks for</th></tr>
{% for one in plan.steps %}<tr><td>{{ one }}</td><td>{% if plan.specs[loop.index0] %}
{{ facts(plan.specs[loop.index0]) }}{% endif %}</td></tr>{% endfor %}</table>
{% for one in plan.signatures %}<p>{{ one.model }}, {{ one.label }}: {{ one.before }} →
{{ one.after }} {{ chip(one.verdict) }}</p>{% endfor %}
<table><tr><th>server</th><th>step</th><th>reload</th><th>waits for</th><th>config</th></tr>
{% for one in plan.reloads %}<tr><td>{{ one.server }}</td><td>{{ one.step }}</td>
<td>{{ one.why }}</td><td>{{ one.waits_for | join(", ") or "–" }}</td>
<td><pre>{{ one.diff }}</pre></td></tr>{% else %}<tr><td colspan="5">No reloads.</td></tr>
{% endfor %}</table>
{% else %}<p>No plan was kept.</p>{% endif %}
{% if signatures %}<h2>Signatures</h2>
{% for one in signatures %}<p>{{ one.model }}, {{ one.label }}: {{ one.before }} → {{ one.after }}
{{ chip(one.verdict) }}</p>{% if one.text %}<pre>{{ one.text }}</pre>{% endif %}
{% endfor %}{% endif %}
<h2>Steps</h2>
<table><tr><th>step</th><th>phase</th><th>servers</th><th>begun</th><th>took</th><th>evidence</th></tr>
{% for one in rollout.steps %}<tr><td>{{ one.name }}</td><td>{{ chip(one.phase) }}</td>
<td>{{ one.servers | join(", ") }}</td><td>{{ time(one.started_at) }}</td>
<td>{% set s = timings.steps[loop.index0].took_s %}{{ "–" if s is none else s ~ " s" }}</td>
<td>{% if one.spec %}{{ facts(one.spec) }}{% endif %}
{% if one.evidence %}{{ facts(one.evidence) }}{% endif %}</td></tr>{% endfor %}</table>
{% if gates %}<h2>Gates</h2>{% for one in gates %}
<h3>{{ one.kind }} {% if one.verdict %}{{ chip(one.verdict.ruling) }}{% endif %}</h3>
{% if one.verdict %}<p>{{ one.verdict.sentence }}</p>{{ facts(one.verdict.evidence) }}{% endif %}
{% if one.skipped %}<p>Skipped:</p>{{ facts(one.skipped) }}{% endif %}
{% endfor %}{% endif %}
{% if approvals or people %}<h2>People</h2>
{% if approvals %}{{ facts(approvals) }}{% endif %}
<table><tr><th>at</th><th>who</th><th>said</th><th>why</th></tr>
{% for one in people %}<tr><td>{{ time(one.at) }}</td><td>{{ one.actor }}</td>
<td>{{ one.said }}</td><td>{{ one.reason or "–" }}</td></tr>{% endfor %}</table>{% endif %}
{% if hooks %}<h2>Hooks</h2>
<table><tr><th>hook</th><th>moment</th><th>about</th><th>state</th><th>took</th><th>output</th></tr>
{% for one in hooks %}<tr><td>{{ one.name }}<br><code>{{ one.request_id }}</code></td>
<td>{{ one.moment }}</td><td>{{ one.model }} {{ one.version }} {{ one.server }}</td>
<td>{{ one.state }} ({{ one.attempts }}): {{ one.sentence }}</td><td>{{ one.duration_s }} s</td>
<td><pre>{{ one.output }}</pre></td></tr>{% endfor %}</table>{% endif %}
<h2>Configs that were sent</h2>
{% for one in reloads %}<h3>{{ one.server }} {{ chip(one.code) }}</h3>
<p>{{ time(one.at) }}, answered in {{ one.took_s }} s: {{ one.message or "no words" }}<br>
{{ one.sentence }}</p><pre>{{ one.diff }}</pre>{% else %}<p>None.</p>{% endfor %}
<h2>What was seen of servers</h2>
<table><tr><th>after</th><th>server</th><th>what</th><th>model</th><th>details</th></tr>
{% for one in servers %}<tr><td>{{ one.after_s }} s</td><td>{{ one.server }}</td>
<td>{{ one.kind }}</td><td>{{ one.model | default("") }}</td>
<td>{{ facts(one.data | default({})) }}</td></tr>
{% endfor %}</table>
<h2>Events of this rollout</h2>
<table><tr><th>number</th><th>at</th><th>kind</th><th>who</th><th>why</th><th>details</th></tr>
{% for one in events %}<tr><td>{{ one.seq }}</td><td>{{ time(one.at) }}</td><td>{{ one.kind }}</td>
<td>{{ one.actor }}</td><td>{{ one.reason | default("") }}</td>
<td>{{ facts(one.data | default({})) }}</td></tr>{% endfor %}</table>
<p>SHA-256 of the JSON document: <code>{{ sha256 }}</code></p>
</body></html>
"""


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)


def evidence_page(document: Mapping[str, Any]) -> str:
    """Return the page of an evidence document."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["pretty"] = _pretty
    return environment.from_string(_PAGE).render(document, style=_STYLE)
