"""Whatever a runtime writes is a request or a Failure with a code of the specification's, never a defect."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawser.cni import config, errors, result
from hawser.cni.errors import Failure

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
}
PLAIN = {"cniVersion": "1.1.0", "name": "web", "type": "hawser-cni", config.KEEP: []}
KEYS = [*config.OWN, *config.OTHERS, config.KEEP, "ips", "mac", "portMappings", "bandwidth", "cni", "servers", "key"]
KEYS += ["value", "hostPort", "containerPort", "protocol", "hostIP", "ingressRate", "containerID", "ifname", "address"]
KEYS += ["interfaces", "interface", "gateway", "routes", "dst", "gw", "sandbox", "search", "nameservers"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=4)


def parse(plain: Any, **variables: str) -> config.Request:
    return config.parse(ENVIRONMENT | variables, json.dumps(plain).encode())


def failing(act: Callable[[], object]) -> Failure | None:
    try:
        act()
    except Failure as failure:
        return failure
    return None


@given(more=OBJECTS, command=st.sampled_from(sorted(config.NEEDS)))
def test_any_configuration_is_a_request_or_a_failure(more: dict[str, Any], command: str) -> None:
    failure = failing(lambda: parse(PLAIN | more, CNI_COMMAND=command))
    assert failure is None or (failure.code in range(1, 8) and "\n" not in str(failure))


@given(prev=OBJECTS, version=st.sampled_from(config.VERSIONS))
def test_any_previous_result_is_one_or_a_failure(prev: dict[str, Any], version: str) -> None:
    request = parse(PLAIN | {"prevResult": prev, "cniVersion": version})
    made = {"tenant": "blue", "mac": "02:00:00:00:00:01", "mtu": 1500, "routes": ["10.0.0.1"]}
    made |= {"addresses": ["10.0.0.2/24"], "gateways": ["10.0.0.1"]}
    for act in (
        lambda: json.dumps(result.added(request, result.before_of(request), made)),
        lambda: result.expected(request),
    ):
        failure = failing(act)
        assert failure is None or failure.code == errors.CONFIG


@given(text=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_have_a_version_to_answer_in(text: bytes) -> None:
    assert config.version_of(text) in config.VERSIONS


@given(text=st.text(max_size=40))
def test_any_arguments_are_read_or_refused(text: str) -> None:
    failure = failing(lambda: parse(PLAIN, CNI_ARGS=text))
    assert failure is None or failure.code == errors.ENVIRONMENT


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
@given(value=st.text(max_size=20))
def test_any_variable_is_taken_or_named(name: str, value: str) -> None:
    failure = failing(lambda: parse(PLAIN, **{name: value}))
    assert failure is None or (failure.code == errors.ENVIRONMENT and name in str(failure))
