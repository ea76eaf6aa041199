"""`--stats` says what was asked of the store; `du --cost` what a month of it costs."""

import re

import pytest

from studio_cas.testing.faulty_gcs import FaultyGcs
from studio_cas.testing.faulty_http import BUCKET, Fault, serve

URL = f"gs://{BUCKET}/team"
CLASSES = {"POST": "create", "DELETE": "delete"}


@pytest.fixture
def service(terminal):
    """A small service that keeps a list of its requests."""
    with serve(FaultyGcs) as running:
        terminal.environment["STORAGE_EMULATOR_HOST"] = running.endpoint
        yield running


def asked(service):
    """How many requests of each class the service has seen; it forgets them."""
    counts = dict.fromkeys(("create", "list", "read", "stat", "delete"), 0)
    for method, path in service.requests:
        kind = "read" if path.startswith("/download") else "list" if "prefix=" in path else "stat"
        counts[CLASSES.get(method, kind)] += 1
    service.requests.clear()
    return counts


def said(stderr):
    """The numbers of the line."""
    (line,) = [line for line in stderr.splitlines() if "class A requests" in line]
    return {name: int(count) for count, name in re.findall(r"(\d+) (create|list|read|stat)\b", line)} | {
        "delete": int(re.search(r"(\d+) free", line)[1])
    }


def test_what_is_counted_is_what_the_service_saw(terminal, weights, service):
    terminal.ok("push", weights, "exp/w", "--store", URL)
    asked(service)
    (weights / "notes.txt").write_text("loss 0.4\n")
    pushed = terminal.ok("push", weights, "exp/w", "--store", URL, "--stats")
    assert said(pushed.err) == asked(service)
    pulled = terminal.ok("--stats", "pull", "exp/w", "back", "--store", URL)
    assert said(pulled.err) == asked(service)
    assert "fetched" in pulled.out
    assert "class A" not in pulled.out


def test_every_attempt_counts_and_the_line_comes_also_after_an_error(terminal, weights, service):
    terminal.ok("push", weights, "exp/w", "--store", URL)
    asked(service)
    service.arm(Fault("GET"))
    failed = terminal.run("pull", "exp/none", "--store", URL, "--stats")
    assert failed.code == 4
    assert said(failed.err) == asked(service)
    assert failed.err.count("\n") == 2


def test_json_has_a_key_for_it_and_only_then(terminal, weights):
    plain = terminal.ok("push", weights, "exp/w", "--json")
    assert "stats" not in plain.json
    counted = terminal.ok("pull", "exp/w", "back", "--json", "--stats").json
    assert set(counted) - {"stats"} == set(terminal.ok("pull", "exp/w", "back", "--json").json)
    stats = counted["stats"]
    assert stats["class_a"] == stats["create"] + stats["list"] == 1
    assert stats["class_b"] == stats["read"] + stats["stat"] > 1
    assert stats["bytes_in"] > 0
    assert stats["bytes_out"] == 0
    assert isinstance(terminal.ok("ls", "--json", "--stats").json, list)


def test_a_run_counts_its_captures(terminal, service):
    (terminal.folder / "train.py").write_text("print('trained')")
    terminal.ok("push", "train.py", "exp/script", "--store", URL)
    asked(service)
    ran = terminal.ok("run", "--store", URL, "--stats", "--no-workspace", "-e", "lr", "train.py", "--stats")
    assert said(ran.err) == asked(service)


def test_the_cost_of_a_month(terminal, weights, service):
    for content in ("1", "2", "3"):
        (weights / "notes.txt").write_text(content)
        terminal.ok("push", weights, "exp/w", "--store", URL)
    found = terminal.ok("du", "--cost", "--json", "--store", URL).json["cost"]
    assert found["objects"] == len(service.objects)
    assert found["stored"] == sum(map(len, service.objects.values()))
    prices = found["prices"]
    assert found["storage"] == pytest.approx(found["stored"] / 2**30 * prices["storage"])
    assert found["requests"] == pytest.approx(
        found["class_a"] * prices["class_a"] + found["class_b"] * prices["class_b"]
    )
    assert found["total"] == pytest.approx(found["storage"] + found["requests"])
    assert "list prices of Google Cloud Storage" in terminal.ok("du", "--cost", "--store", URL).out


@pytest.mark.own_store
def test_a_store_on_this_machine_costs_nothing(terminal, weights):
    terminal.ok("push", weights, "exp/w")
    assert "nobody sends a bill" in terminal.ok("du", "--cost").out
    assert terminal.ok("du", "--cost", "--json").json["cost"] is None
    assert "cost" not in terminal.ok("du", "--json").json
