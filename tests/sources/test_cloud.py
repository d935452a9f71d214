"""The connection to a cloud: its wall, its scopes, its microversions, and that it never lets a secret out."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.sources.canned_cloud import PASSWORD, Asked, CannedCloud, Reply, spec
from vgpu_console.simulator import open_demo
from vgpu_console.sources.base import Refused, SourceError
from vgpu_console.sources.cloud import CloudConnection, CloudSpec, counting
from vgpu_console.sources.cloud_auth import open_credential

SERVERS = "/compute/v2.1/servers"


@pytest.fixture
def cloud() -> CannedCloud:
    return CannedCloud()


class TestTheWall:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "MKCOL"])
    @pytest.mark.parametrize("service", ["compute", "placement", "identity"])
    def test_read_only_sends_not_a_byte_of_a_change(self, cloud: CannedCloud, method: str, service: str) -> None:
        with pytest.raises(Refused, match="read-only"):
            cloud.connection().request(method, service, "/servers", json={"server": {}})
        assert cloud.asked == []

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_the_sessions_below_refuse_as_well(self, cloud: CannedCloud, method: str) -> None:
        connection = cloud.connection()
        connection.identity()
        before = len(cloud.asked)
        scope = connection._scope("compute")
        for url in ("http://cloud.test" + SERVERS, "http://cloud.test/identity/v3/auth/tokens"):
            with pytest.raises(Refused):
                scope.session.request(url, method, authenticated=False)
            with pytest.raises(Refused):
                connection._http.request(method, url, data=b"{}")
        assert len(cloud.asked) == before

    def test_a_login_is_the_one_post_and_carries_no_token(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, Reply(200, {"servers": []}))
        cloud.connection().get("compute", "/servers")
        posts = [a for a in cloud.asked if a.method != "GET"]
        assert [(a.method, a.path) for a in posts] == [("POST", "/identity/v3/auth/tokens")]
        assert "x-auth-token" not in posts[0].headers

    def test_without_it_changes_go_out(self, cloud: CannedCloud) -> None:
        cloud.routes["POST", SERVERS] = Reply(202, {"server": {"id": "1"}})
        answer = cloud.connection(read_only=False).request("POST", "compute", "/servers", json={"server": {}})
        assert answer.object() == {"server": {"id": "1"}}


class TestTokens:
    def test_an_expired_token_is_renewed_once(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, cloud.needs_token(Reply(200, {"servers": []})))
        connection = cloud.connection()
        connection.get("compute", "/servers")
        cloud.valid.clear()
        assert connection.get("compute", "/servers") == {"servers": []}
        assert cloud.tokens == 2

    def test_a_token_that_stays_refused_is_an_auth_error(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, Reply(401, {"error": {"message": "no"}}))
        with pytest.raises(SourceError, match="did not accept the token") as caught:
            cloud.connection().get("compute", "/servers")
        assert caught.value.kind == "auth"

    def test_many_threads_share_one_login(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, cloud.needs_token(Reply(200, {"servers": []})))
        connection = cloud.connection()
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: connection.get("compute", "/servers"), range(96)))
        assert answers == [{"servers": []}] * 96
        assert cloud.tokens == 1

    def test_the_demo_cloud_forgets_all_tokens_and_reads_go_on(self) -> None:
        demo = open_demo(2)
        connection = CloudConnection(demo.spec(), read_only=True, http=demo.http())
        first = connection.get("compute", "/os-services", microversion="2.100")
        demo.expire_tokens()
        again = connection.get("compute", "/os-services", microversion="2.100")
        assert [s["host"] for s in again["services"]] == [s["host"] for s in first["services"]]

    def test_identity_tells_who_looks_and_how(self, cloud: CannedCloud) -> None:
        connection = cloud.connection()
        identity = connection.identity()
        assert (identity.cloud, identity.user, identity.scope) == ("canned", "alice", "admin (project)")
        assert (identity.region, identity.read_only, identity.limits_scope) == ("RegionOne", True, "")
        assert (identity.roles, identity.limits_roles) == (("admin",), ("admin",))
        cloud.roles = ["reader", "manager"]
        connection.limits_view()
        again = connection.identity()
        assert again.limits_scope == "system all"
        assert (again.roles, again.limits_roles) == (("admin",), ("manager", "reader"))


class TestMicroversions:
    @pytest.mark.parametrize(
        ("newest", "spoken"),
        [("2.104", "2.100"), ("2.100", "2.100"), ("2.96", "2.96"), ("2.9", "2.9"), ("nonsense", "2.87"), (7, "2.87")],
    )
    def test_the_lesser_of_wanted_and_newest(self, cloud: CannedCloud, newest: Any, spoken: str) -> None:
        cloud.compute_version = Reply(200, {"version": {"id": "v2.1", "version": newest}})
        cloud.get(SERVERS, Reply(200, {"servers": []}))
        connection = cloud.connection()
        connection.get("compute", "/servers", microversion="2.100")
        assert connection.microversion("compute", "2.100") == spoken
        assert cloud.asked[-1].headers["openstack-api-version"] == f"compute {spoken}"

    def test_a_hidden_version_document_does_not_stop_reads(self, cloud: CannedCloud) -> None:
        cloud.placement_version = Reply(404, b"<html>not here</html>")
        cloud.get("/placement/resource_providers", Reply(200, {"resource_providers": []}))
        cloud.connection().get("placement", "/resource_providers", microversion="1.39")
        assert cloud.asked[-1].headers["openstack-api-version"] == "placement 1.36"

    def test_it_is_looked_up_once(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, Reply(200, {"servers": []}))
        connection = cloud.connection()
        for _ in range(5):
            connection.get("compute", "/servers", microversion="2.100")
        assert [a.path for a in cloud.asked].count("/compute/v2.1") == 1


class TestTwoScopes:
    LIMITS = "/identity/v3/limits"

    def test_limits_are_read_with_the_system_scope(self, cloud: CannedCloud) -> None:
        cloud.get(self.LIMITS, Reply(200, {"limits": []}))
        connection = cloud.connection()
        connection.get("limits", "/limits")
        bodies = [json.loads(a.body)["auth"]["scope"] for a in cloud.asked if a.method == "POST"]
        assert [list(b) for b in bodies] == [["project"], ["system"]]
        assert connection.limits_view().scope == "system"

    def test_a_refusal_falls_back_and_is_remembered(self, cloud: CannedCloud) -> None:
        cloud.system = False
        cloud.get(self.LIMITS, Reply(200, {"limits": []}))
        connection = cloud.connection()
        for _ in range(4):
            connection.get("limits", "/limits")
        assert len([a for a in cloud.asked if a.method == "POST"]) == 2
        view = connection.limits_view()
        assert (view.scope, view.separate) == ("project", False)
        assert "no role on the system" in view.note

    def test_an_outage_is_not_taken_for_a_refusal(self, cloud: CannedCloud) -> None:
        cloud.get(self.LIMITS, Reply(200, {"limits": []}))
        connection = cloud.connection()
        connection.identity()
        cloud.routes["POST", "/identity/v3/auth/tokens"] = Reply(503, b"")
        with pytest.raises(SourceError):
            connection.get("limits", "/limits")
        del cloud.routes["POST", "/identity/v3/auth/tokens"]
        connection.get("limits", "/limits")
        assert connection.limits_view().scope == "system"

    def test_an_application_credential_is_not_rescoped(self, cloud: CannedCloud) -> None:
        cloud.get(self.LIMITS, Reply(200, {"limits": []}))
        connection = cloud.connection(
            auth_type="v3applicationcredential",
            application_credential_id="ac-1",
            application_credential_secret=PASSWORD,
        )
        connection.get("limits", "/limits")
        assert len([a for a in cloud.asked if a.method == "POST"]) == 1
        assert "cannot be given the system scope" in connection.limits_view().note

    @pytest.mark.parametrize("service", ["compute", "placement"])
    def test_a_system_scoped_cloud_is_told_to_name_a_project(self, cloud: CannedCloud, service: str) -> None:
        connection = cloud.connection(system_scope="all")
        path = {"compute": SERVERS, "placement": "/placement/servers"}[service]
        cloud.get(path, Reply(403, {"error": {"message": "not allowed"}}))
        with pytest.raises(SourceError, match="give a cloud that names a project") as caught:
            connection.get(service, "/servers")
        assert caught.value.kind == "forbidden"

    def test_a_second_cloud_entry_may_read_the_limits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_clouds(monkeypatch, tmp_path, {"prod": AUTH, "auditor": SYSTEM})
        cloud = CannedCloud()
        cloud.get(self.LIMITS, Reply(200, {"limits": []}))
        both = CloudSpec(cloud="prod", limits_cloud="auditor")
        connection = CloudConnection(both, read_only=True, http=cloud.session())
        connection.get("limits", "/limits")
        users = [json.loads(a.body)["auth"]["identity"]["password"]["user"]["name"] for a in cloud.asked if a.body]
        assert users[-1] == "eve"


AUTH = {
    "auth": {
        "auth_url": "http://cloud.test/identity/v3",
        "username": "alice",
        "password": PASSWORD,
        "project_name": "admin",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
}
SYSTEM = {
    "auth": {
        "auth_url": "http://cloud.test/identity/v3",
        "username": "eve",
        "password": PASSWORD,
        "user_domain_id": "default",
        "system_scope": "all",
    }
}


def write_clouds(monkeypatch: pytest.MonkeyPatch, folder: Path, clouds: Any) -> Path:
    """A clouds.yaml that is the only configuration there is."""
    for name in [n for n in __import__("os").environ if n.startswith("OS_")]:
        monkeypatch.delenv(name)
    path = folder / "clouds.yaml"
    path.write_text(clouds if isinstance(clouds, str) else json.dumps({"clouds": clouds}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    monkeypatch.chdir(folder)
    return path


class TestConfiguration:
    @pytest.mark.parametrize(
        ("clouds", "cloud", "words"),
        [
            ({"prod": AUTH, "dev": AUTH}, "prud", ["'prud' is not in", "clouds.yaml", "there are: dev, prod"]),
            ({"prod": AUTH, "dev": AUTH}, None, ["no cloud was chosen", "dev, prod"]),
            ({"prod": {"auth": {"username": "x"}}}, "prod", ["cloud 'prod' does not give", "auth_url"]),
            ({"prod": AUTH | {"auth_type": "v9magic"}}, "prod", ["unknown auth_type", "v9magic"]),
            ({"prod": "oops"}, "prod", ["clouds.yaml", "'prod' is not a mapping"]),
            ({"prod": AUTH | {"networks": 7}}, "prod", ["clouds.yaml", "'prod' cannot be used"]),
            ("clouds:\n  prod:\n   auth: *s3cret-pa55word\n", "prod", ["clouds.yaml, line 3"]),
            ("clouds:\n  prod: {\n", "prod", ["clouds.yaml, line "]),
            ("[1, 2]", "prod", ["no mapping 'clouds'"]),
            ("clouds: 5", "prod", ["no mapping 'clouds'"]),
        ],
    )
    def test_one_line_names_what_is_wrong(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clouds: Any, cloud: str | None, words: list[str]
    ) -> None:
        write_clouds(monkeypatch, tmp_path, clouds)
        with pytest.raises(SourceError) as caught:
            open_credential(CloudSpec(cloud=cloud))
        line = str(caught.value)
        assert all(word in line for word in words), line
        assert caught.value.kind == "unavailable"
        assert "\n" not in line
        assert PASSWORD not in line

    def test_no_file_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_clouds(monkeypatch, tmp_path, {})
        path.unlink()
        monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "none" / "clouds.yaml")])
        with pytest.raises(SourceError, match=r"no clouds\.yaml was found \(looked in .*none\)"):
            open_credential(CloudSpec())
        with pytest.raises(SourceError, match=r"cloud 'prod' is not known: no clouds\.yaml was found"):
            open_credential(CloudSpec(cloud="prod"))

    def test_environment_variables_are_a_cloud(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_clouds(monkeypatch, tmp_path, {}).unlink()
        for name, setting in AUTH["auth"].items():
            monkeypatch.setenv(f"OS_{name.upper()}", setting)
        cloud = CannedCloud()
        identity = CloudConnection(CloudSpec(), read_only=True, http=cloud.session()).identity()
        assert (identity.user, identity.scope) == ("alice", "admin (project)")

    def test_a_missing_endpoint_says_what_the_catalogue_has(self, cloud: CannedCloud) -> None:
        cloud.services = ("compute", "identity")
        with pytest.raises(SourceError, match=r"no public endpoint for placement; it has: compute, identity"):
            cloud.connection().get("placement", "/resource_providers")

    def test_a_wrong_region_says_which_there_are(self, cloud: CannedCloud) -> None:
        wrong = CloudSpec(**{f: getattr(spec(), f) for f in spec().__struct_fields__} | {"region": "Mars"})
        connection = CloudConnection(wrong, read_only=True, http=cloud.session())
        with pytest.raises(SourceError, match=r"region 'Mars'; there are: RegionOne \(public\)"):
            connection.get("compute", "/servers")

    def test_no_repr_shows_a_secret(self) -> None:
        secret = spec()
        credential = open_credential(secret)
        assert PASSWORD not in repr(secret) + repr(credential) + str(secret)


class TestSecretsAndTheLog:
    def test_neither_the_log_nor_an_error_holds_one(self, cloud: CannedCloud, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        def echo(asked: Asked) -> Reply:
            said = f"http://bob:{PASSWORD}@inner/ {asked.headers['x-auth-token']} {PASSWORD}"
            return Reply(500, {"error": {"message": said}})

        cloud.get(SERVERS, echo)
        with pytest.raises(SourceError) as caught:
            cloud.connection().get("compute", "/servers", params={"secret": PASSWORD})
        told = str(caught.value) + caplog.text
        assert PASSWORD not in told
        assert not any(token in told for token in cloud.valid)
        assert "bob" not in told

    def test_each_call_is_a_line_and_a_failed_one_a_warning(
        self, cloud: CannedCloud, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        cloud.get(SERVERS, Reply(200, {"servers": []}))
        connection = cloud.connection()
        connection.get("compute", "/servers", params={"all_tenants": 1})
        with pytest.raises(SourceError):
            connection.get("compute", "/nothing")
        lines = [(r.levelname, r.getMessage()) for r in caplog.records]
        assert {r.name for r in caplog.records} == {"vgpu_console.http"}
        assert ("DEBUG", True) in [
            (level, line.startswith(f"GET cloud.test{SERVERS} 200 in ")) for level, line in lines
        ]
        assert lines[-1][0] == "WARNING"
        assert "404" in lines[-1][1]
        assert not any("all_tenants" in line for _, line in lines)

    def test_a_tally_counts_its_own_requests(self, cloud: CannedCloud) -> None:
        cloud.get(SERVERS, Reply(200, {"servers": []}))
        connection = cloud.connection()
        connection.get("compute", "/servers")
        connection.reset_requests()
        with counting() as tally:
            connection.get("compute", "/servers")
        connection.get("compute", "/servers")
        assert (tally.count, connection.requests) == (1, 2)
