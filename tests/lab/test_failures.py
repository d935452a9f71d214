"""What an operator sees when the cloud, a host or the credential fails: the reason, and the last good data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.lab import Lab, until
from tests.lab.lab_fleet import LabFleet, connection_to
from vgpu_console.sources.base import Refused, SourceError
from vgpu_console.sources.nova import NovaSource
from vgpu_console.sources.placement import PlacementSource

pytestmark = pytest.mark.lab


def test_a_host_that_goes_down_and_comes_back(lab: Lab, fleet: LabFleet, sdk: Any) -> None:
    def state() -> str | None:
        facts = fleet.read()
        assert facts.nova is not None
        return next(s.state for s in facts.nova.services or () if s.host == "gpu-02")

    assert state() == "up"
    lab.control("/hosts/gpu-02/stop", {})
    try:
        until(lambda: state() == "down", "gpu-02 is down", 40, every_s=1)
        assert next(s.state for s in sdk.compute.services(binary="nova-compute") if s.host == "gpu-02") == "down"
        facts = fleet.read()
        assert facts.nova is not None
        assert next(h.state for h in facts.nova.hypervisors or () if h.name == "gpu-02") == "down"
    finally:
        lab.control("/hosts/gpu-02/start", {})
    until(lambda: state() == "up", "gpu-02 is up", 40, every_s=1)


def test_a_revoked_token_is_replaced_without_a_word(lab: Lab, fleet: LabFleet, sdk_system: Any) -> None:
    first = fleet.read()
    token = fleet.cloud._scope("compute").session.get_token()
    gone = sdk_system.identity.delete("/auth/tokens", headers={"X-Subject-Token": token})
    assert gone.status_code == 204
    # the services keep what Keystone said of a token for three seconds
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        again = fleet.read()
        assert [(s.key, s.error) for s in again.statuses if s.error] == []
        if fleet.cloud._scope("compute").session.get_token() != token:
            break
        time.sleep(0.5)
    else:
        pytest.fail("the revoked token is still in use")
    assert again.nova is not None
    assert first.nova is not None
    assert {s.id for s in again.nova.servers or ()} == {s.id for s in first.nova.servers or ()}


def test_tokens_that_live_for_seconds(lab: Lab, open_fleet: Callable[..., LabFleet]) -> None:
    """Tokens that expire between two readings: the console goes on, with a new one each time."""
    lab.control("/tokens", {"seconds": 4})
    fleet = open_fleet(hosts=False)
    fleet.read()
    time.sleep(6)
    facts = fleet.read()
    assert [(s.key, s.error) for s in facts.statuses if s.error] == []
    assert facts.nova is not None
    assert facts.nova.servers


def test_a_wrong_password(open_fleet: Callable[..., LabFleet]) -> None:
    facts = open_fleet("lab-wrong", hosts=False).read()
    errors = {s.kind: (s.error_kind, s.error) for s in facts.statuses}
    assert set(errors) == {"nova", "keystone", "placement"}
    for kind, message in errors.values():
        assert kind == "auth"
        assert message is not None
        assert "\n" not in message
        assert "not-the-password" not in message
        assert "admin" in message or "password" in message.lower() or "credential" in message.lower()


def test_a_system_scoped_credential_is_refused_by_nova_and_placement(open_fleet: Callable[..., LabFleet]) -> None:
    facts = open_fleet("lab-system", hosts=False).read()
    status = {s.kind: s for s in facts.statuses}
    for kind in ("nova", "placement"):
        assert status[kind].error_kind == "forbidden"
        assert "system" in (status[kind].error or "")
        assert "project" in (status[kind].error or "")
    assert status["keystone"].error is None
    assert facts.keystone is not None
    assert facts.keystone.limits_complete is True
    assert "ml-research" in {p.name for p in facts.keystone.projects or ()}


def test_a_system_reader_sees_the_limits(open_fleet: Callable[..., LabFleet]) -> None:
    facts = open_fleet("lab-auditor", hosts=False).read()
    assert facts.keystone is not None
    assert facts.keystone.limits_complete is True
    assert ("class:VGPU", 6) in {(r.resource_name, r.resource_limit) for r in facts.keystone.project_limits or ()}


def test_a_member_sees_its_own_project(lab: Lab, open_fleet: Callable[..., LabFleet]) -> None:
    fleet = open_fleet("lab-member", hosts=False)
    facts = fleet.read()
    own = lab.connect("lab-member")
    assert facts.nova is not None
    assert facts.nova.all_projects is False
    assert {s.id for s in facts.nova.servers or ()} == {s.id for s in own.compute.servers()}
    assert facts.nova.services is None
    assert facts.nova.hypervisors is None
    assert any("only those of this credential's project" in note for note in fleet.nova.notes)
    assert fleet.status("placement").error_kind == "forbidden"
    assert facts.keystone is not None
    assert facts.keystone.limits_complete is False
    assert {r.project_id for r in facts.keystone.project_limits or ()} <= {own.current_project_id}
    assert {p.id for p in facts.keystone.projects or ()} == {own.current_project_id}
    assert {r.resource_name for r in facts.keystone.registered_limits or ()} >= {"class:VGPU", "servers"}


@pytest.mark.parametrize(
    ("mode", "kind"), [("500", "protocol"), ("503", "unreachable"), ("html", "protocol"), ("truncated", "protocol")]
)
@pytest.mark.parametrize("service", ["compute", "placement"])
def test_a_failing_api_leaves_the_last_good_data(lab: Lab, fleet: LabFleet, service: str, mode: str, kind: str) -> None:
    source = {"compute": "nova", "placement": "placement"}[service]
    good = fleet.read()
    lab.fault(service, mode=mode)
    bad = fleet.read()
    status = fleet.status(source)
    assert status.error
    assert "\n" not in status.error
    assert "<" not in status.error
    assert status.failures == 1
    assert getattr(bad, source) is getattr(good, source)
    assert status.fetched_at is not None
    assert [s.key for s in bad.statuses if s.error] == [source]
    lab.fault(service)
    assert fleet.read() is not None
    assert fleet.status(source).error is None


@pytest.mark.parametrize("service", ["compute", "placement", "identity"])
def test_a_slow_api_is_a_timeout_with_its_name(lab: Lab, open_fleet: Callable[..., LabFleet], service: str) -> None:
    fleet = open_fleet(hosts=False, timeout_s=1.0)
    good = fleet.read()
    assert [(s.key, s.error) for s in good.statuses if s.error] == []
    lab.fault(service, seconds=4)
    bad = fleet.read()
    source = {"compute": "nova", "placement": "placement", "identity": "keystone"}[service]
    status = fleet.status(source)
    assert status.error_kind == "timeout"
    assert getattr(bad, source) is getattr(good, source)


def test_a_cloud_that_is_gone_altogether(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    text = lab.clouds_yaml.read_text().replace(f"127.0.0.1:{lab.port_base}", "127.0.0.1:9")
    (tmp_path / "clouds.yaml").write_text(text)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    connection = connection_to()
    for source in (NovaSource(connection), PlacementSource(connection, dict)):
        with pytest.raises(SourceError) as caught:
            source.fetch(None)
        assert caught.value.kind == "unreachable"
        assert "127.0.0.1:9" in str(caught.value)


def test_nothing_is_written_through_a_read_only_connection(lab: Lab, sdk: Any) -> None:
    connection = connection_to()
    server = next(s for s in sdk.compute.servers(all_projects=True))
    with pytest.raises(Refused):
        connection.request("DELETE", "compute", f"/servers/{server.id}")
    with pytest.raises(Refused):
        connection.request("POST", "compute", f"/servers/{server.id}/action", json={"reboot": {"type": "HARD"}})
    assert sdk.compute.get_server(server.id).status == "ACTIVE"
