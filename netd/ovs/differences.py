"""What differs between a switch and what it should be, as steps with their reasons."""

from collections.abc import Iterable, Mapping

from hawser.store.reconcile import Step, Verb, plan

from .flow import Flow, Key
from .rows import OvsRow

SHOWN = 3


def steps(
    rows: Mapping[str, OvsRow], there: Mapping[str, OvsRow], flows: Mapping[Key, Flow], dumped: Iterable[Flow]
) -> tuple[Step[OvsRow | Flow], ...]:
    """One step for each row of the database, keyed `switch:<row's key>`, and one for all flows, `switch:flows`, which
    names the first three."""
    of_rows = plan(
        {f"switch:{key}": row for key, row in rows.items()}, {f"switch:{k}": row for k, row in there.items()}
    )
    found: list[Step[OvsRow | Flow]] = [
        Step(verb=step.verb, key=step.key, reason=step.reason, spec=step.spec) for step in of_rows
    ]
    have = {flow.key: flow for flow in dumped}
    different = [flow for key, flow in flows.items() if have.get(key) != flow]
    stray = [flow for key, flow in have.items() if key not in flows]
    if different or stray:
        named = [*(f"{_name(flow)} is wanted" for flow in different), *(f"{_name(flow)} is not" for flow in stray)]
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        reason = f"{', '.join(named[:SHOWN])}{more}"
        found.append(Step(verb=Verb.UPDATE, key="switch:flows", reason=reason, spec=(different or stray)[0]))
    return tuple(found)


def _name(flow: Flow) -> str:
    return f"table={flow.table},priority={flow.priority},{flow.match or 'any'}"
