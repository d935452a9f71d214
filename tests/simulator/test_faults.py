"""What tests can break: each service's answers, its speed, its tokens."""

from __future__ import annotations

import pytest
import requests

from tests.simulator.client import Api
from vgpu_console.simulator import DemoCloud, HttpFault

LIST = ("GET", "compute", "/os-services?binary=nova-compute", "2.96")


def test_a_services_own_error_for_a_number_of_requests(cloud: DemoCloud, admin: Api) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="status", status=503, times=2)
    assert [admin.call(*LIST).status_code for _ in range(3)] == [503, 503, 200]
    assert admin.call("GET", "placement", "/traits", "1.39").status_code == 200


def test_a_proxys_page(cloud: DemoCloud, admin: Api) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="html", status=502)
    answer = admin.call(*LIST)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert "<title>502 Bad Gateway</title>" in answer.text


def test_half_an_answer(cloud: DemoCloud, admin: Api) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="truncated")
    answer = admin.call(*LIST)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def test_null_where_a_value_should_be(cloud: DemoCloud, admin: Api) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="null", null_fields=("host",))
    services = admin.call(*LIST).json()["services"]
    assert {s["host"] for s in services} == {None}
    assert {s["binary"] for s in services} == {"nova-compute"}


def test_no_answer_at_all(cloud: DemoCloud, admin: Api) -> None:
    cloud.faults.http["compute"] = HttpFault(kind="refused", path="/os-services")
    with pytest.raises(requests.exceptions.ConnectionError, match="Connection refused"):
        admin.call(*LIST)
    assert admin.call("GET", "compute", "/servers", "2.96").status_code == 200


def test_a_slow_service_sleeps_without_holding_the_others(cloud: DemoCloud, admin: Api) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert admin.call("GET", "placement", "/traits", "1.39").status_code == 200

    cloud.faults.sleep = sleep
    cloud.faults.http["compute"] = HttpFault(delay_s=12.0)
    assert admin.call(*LIST).status_code == 200
    assert slept == [12.0]


def test_all_tokens_can_be_made_to_expire(cloud: DemoCloud, admin: Api) -> None:
    cloud.expire_tokens()
    answer = admin.call(*LIST)
    assert answer.status_code == 401
    assert answer.json()["error"]["title"] == "Unauthorized"
