"""docker-compose.yml follows the specification's schema, and has what an operator relies on."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files

import pytest
from jsonschema.validators import validator_for

from tests.deploy import compose
from tests.deploy.compose import VARIABLE, Missing, raw, secrets, services, texts
from tests.deploy.conftest import broker_tags
from tests.support.processes import ROOT

POOLS = {"orders", "inventory", "payments", "audit"}
ALL = {*POOLS, "postgres", "rabbitmq", "migrate", "web", "flower", "manage"}
ONCE = {"migrate", "manage"}
"""Services that end by themselves."""


def schema_faults(document: object) -> list[str]:
    schema = json.loads((files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json").read_text())
    validator = validator_for(schema)
    validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(document)]


def test_it_follows_the_compose_specification() -> None:
    assert schema_faults(raw()) == []


def test_an_unknown_compose_key_is_detected() -> None:
    broken = {**raw(), "services": {"web": {"image": "x", "restart_policy": "always"}}}
    assert schema_faults(broken)


def test_it_runs_every_process() -> None:
    assert set(raw()["services"]) == ALL


def test_only_the_web_publishes_a_port_on_loopback_by_default() -> None:
    found = {
        name: service.raw["ports"] for name, service in services(secrets()).items() if "ports" in service.raw
    }
    assert found == {"web": ["127.0.0.1:8000:8000"]}


def test_only_the_web_is_on_the_outer_network() -> None:
    networks = {name: set(service["networks"]) for name, service in raw()["services"].items()}
    assert networks.pop("web") == {"inside", "outside"}
    assert set.union(*networks.values()) == {"inside"}
    assert raw()["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize("name", sorted(ALL - ONCE))
def test_services_have_a_health_check_restarts_and_time_to_stop(name: str) -> None:
    service = raw()["services"][name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert int(service["stop_grace_period"].removesuffix("s")) >= 20


@pytest.mark.parametrize("name", sorted(POOLS))
def test_a_pool_has_time_to_finish_a_step_and_its_relay(name: str) -> None:
    from workers.choreography import choreography

    steps = choreography().participants[name].steps.values()
    longest = max([30.0, *(step.time_limit.total_seconds() for step in steps)])
    assert int(raw()["services"][name]["stop_grace_period"].removesuffix("s")) > longest + 15


@pytest.mark.parametrize("name", sorted([*POOLS, "web"]))
def test_databases_are_migrated_before_any_process_starts(name: str) -> None:
    after = raw()["services"][name]["depends_on"]
    assert after["migrate"] == {"condition": "service_completed_successfully"}
    assert after["postgres"] == {"condition": "service_healthy"}


def test_flower_starts_after_the_pools() -> None:
    after = raw()["services"]["flower"]["depends_on"]
    assert after == {name: {"condition": "service_healthy"} for name in [*POOLS, "rabbitmq"]}


@pytest.mark.parametrize("name", sorted(ALL - {"postgres", "rabbitmq"}))
def test_the_projects_services_run_with_least_privilege(name: str) -> None:
    service = raw()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert isinstance(service["command"], list), "a shell in between would not pass TERM on"


def test_postgres_runs_the_script_that_creates_databases() -> None:
    [script] = [v.split(":")[0] for v in raw()["services"]["postgres"]["volumes"] if v.startswith("./")]
    assert os.access(ROOT / script, os.X_OK), (
        "the image reads a script that is not executable into its own shell, -u and all"
    )


def test_the_image_does_not_run_as_root() -> None:
    assert re.search(r"^USER 10001:10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_data_is_in_volumes_and_the_broker_keeps_its_node_name() -> None:
    assert "postgres:/var/lib/postgresql/data" in raw()["services"]["postgres"]["volumes"]
    assert "rabbitmq:/var/lib/rabbitmq" in raw()["services"]["rabbitmq"]["volumes"]
    assert raw()["services"]["rabbitmq"]["hostname"]
    assert set(raw()["volumes"]) == {"postgres", "rabbitmq"}


def test_the_pools_are_not_administrators_of_the_broker() -> None:
    [line] = [v for v in raw()["services"]["rabbitmq"]["volumes"] if v.startswith("./")]
    assert line == "./deploy/rabbitmq/ordersaga.conf:/etc/rabbitmq/conf.d/20-ordersaga.conf:ro"
    assert broker_tags() == ["management"]


def test_pools_can_share_one_host_name() -> None:
    for name in POOLS:
        service = raw()["services"][name]
        assert "container_name" not in service
        assert f"--hostname={name}@%h" in service["command"]


# -- secrets ---------------------------------------------------------------------------------------------


def test_no_secret_has_a_default_value() -> None:
    for text in texts(raw()):
        for variable in VARIABLE.finditer(text):
            if re.search("PASSWORD|SECRET|KEYS", variable["name"] or ""):
                assert variable["how"] != ":-", text


@pytest.mark.parametrize(
    "name", sorted(name for name in secrets() if re.search("PASSWORD|SECRET|KEYS", name))
)
def test_a_missing_secret_stops_the_start_and_names_the_remedy(name: str) -> None:
    with pytest.raises(Missing, match=rf"{name} .*deploy/secrets\.sh"):
        services({**secrets(), name: ""})


def test_the_example_lists_exactly_the_files_variables() -> None:
    used = {match["name"] for text in texts(raw()) for match in VARIABLE.finditer(text) if match["name"]}
    assert set(secrets()) == used - {"ORDERSAGA_IMAGE"}


def test_secrets_are_generated_anew() -> None:
    first, second = secrets(), secrets()
    made = {name for name in first if first[name] != second[name]}
    assert made == {name for name in first if re.search("PASSWORD|SECRET|KEYS", name)}
    assert all(len(first[name]) >= 32 for name in made)


def test_a_process_gets_only_the_passwords_it_uses() -> None:
    given = secrets()
    owned = {
        name: given[f"{name.upper()}_PASSWORD"]
        for name in ("orders", "inventory", "payments", "reader", "rabbitmq", "flower")
    }
    known = {
        name: {
            owner
            for owner, password in owned.items()
            if any(password in value for value in service.environment.values())
        }
        for name, service in services(given).items()
        if service.ours
    }
    everything = set(owned) - {"flower"}
    assert known == {
        "migrate": everything,
        "manage": everything,
        "orders": {"orders", "rabbitmq"},
        "audit": {"orders", "rabbitmq"},
        "inventory": {"inventory", "rabbitmq"},
        "payments": {"payments", "rabbitmq"},
        "web": {"orders", "reader", "flower"},
        "flower": {"rabbitmq", "flower"},
    }


def test_the_build_context_holds_exactly_what_the_image_copies() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert let_in == {name for names in copied for name in names.split()}
    assert compose.FILE.name not in let_in
