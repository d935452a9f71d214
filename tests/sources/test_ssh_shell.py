"""The SSH shell against real servers on loopback: the real protocol, real keys, real host keys, real failures."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sources.ssh_desk import HOST, Desk
from tests.sources.ssh_servers import AsyncSshServer, OpenSshServer, free_port, make_key, sshd_obstacle
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.fact_command import OUTPUT_LIMIT
from vgpu_console.sources.ssh_host import SshHostSource
from vgpu_console.sources.ssh_shell import AsyncSshShell


@pytest.fixture(params=["asyncssh", "openssh"])
def any_server(request: pytest.FixtureRequest, tmp_path: Path, desk: Desk) -> Iterator[AsyncSshServer | OpenSshServer]:
    if request.param == "openssh" and (obstacle := sshd_obstacle()):
        pytest.skip(obstacle)
    make: Callable[[Path, Path], AsyncSshServer | OpenSshServer]
    make = AsyncSshServer if request.param == "asyncssh" else OpenSshServer
    server = make(tmp_path, Path(f"{desk.key}.pub"))
    desk.trust(server.port, server.host_key)
    yield server
    server.close()


def error_of(shell: AsyncSshShell, command: str = "echo x", timeout_s: float = 10.0, host: str = HOST) -> SourceError:
    with pytest.raises(SourceError) as caught:
        shell.run(host, command, timeout_s)
    return caught.value


def test_facts_of_this_machine_over_the_wire(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    source = SshHostSource(HOST, desk.shell(any_server))
    facts = source.fetch(None)
    assert facts.kernel == os.uname().release
    assert source.requests == 1
    assert "the answer is cut short" not in " ".join(source.notes)
    assert source.fetch(facts) is facts


def test_a_flood_is_cut(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    shell = desk.shell(any_server)
    began = time.monotonic()
    assert len(shell.run(HOST, "yes flood", 30)) == OUTPUT_LIMIT
    assert time.monotonic() - began < 20
    assert shell.run(HOST, "echo still there", 10) == "still there\n"


def test_words_on_standard_error_are_no_data(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    command = "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo data"
    assert desk.shell(any_server).run(HOST, command, 20) == "data\n"


def test_bytes_that_are_no_text(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    assert desk.shell(any_server).run(HOST, "printf 'a\\377b'", 10) == "a\ufffdb"


def test_another_key_is_not_accepted(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    stranger = make_key(desk.ssh, "stranger")
    error = error_of(desk.shell(any_server, keys=[stranger]))
    assert (error.kind, str(error)) == ("auth", "127.0.0.1 accepted no key of this user (permission denied)")


def test_an_unknown_host_key(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    (desk.ssh / "known_hosts").unlink()
    error = error_of(desk.shell(any_server))
    assert error.kind == "auth"
    assert "the host key of 127.0.0.1 is not known: connect once with ssh" in str(error)


def test_a_changed_host_key(any_server: AsyncSshServer | OpenSshServer, desk: Desk) -> None:
    (desk.ssh / "known_hosts").unlink()
    desk.trust(any_server.port, make_key(desk.home, "another"))
    error = error_of(desk.shell(any_server))
    assert error.kind == "auth"
    assert "the host key of 127.0.0.1 has CHANGED" in str(error)


def test_an_unknown_host_key_sees_no_login(server: AsyncSshServer, desk: Desk) -> None:
    (desk.ssh / "known_hosts").unlink()
    error_of(desk.shell(server))
    assert server.logins == 0


def test_host_keys_are_taken_unseen_only_when_told_so(server: AsyncSshServer, desk: Desk) -> None:
    (desk.ssh / "known_hosts").unlink()
    assert desk.shell(server, strict_host_keys=False).run(HOST, "echo x", 10) == "x\n"


@pytest.mark.parametrize(
    "line", ["UserKnownHostsFile none", "UserKnownHostsFile /dev/null", "StrictHostKeyChecking no"]
)
def test_an_ssh_configuration_cannot_switch_the_check_off(server: AsyncSshServer, desk: Desk, line: str) -> None:
    (desk.ssh / "known_hosts").unlink()
    (desk.ssh / "config").write_text(f"Host *\n  {line}\n")
    assert error_of(desk.shell(server)).kind == "auth"
    assert server.logins == 0


def test_the_ssh_configuration_says_where_and_how(server: AsyncSshServer, desk: Desk) -> None:
    (desk.ssh / "known_hosts").rename(desk.ssh / "elsewhere")
    (desk.ssh / "config").write_text(
        f"Host gpu-01\n  HostName {HOST}\n  Port {server.port}\n  IdentityFile {desk.key}\n"
        f"  UserKnownHostsFile {desk.ssh}/elsewhere\n"
    )
    shell = AsyncSshShell(only=None)
    desk.shells.append(shell)
    assert shell.run("gpu-01", "echo configured", 10) == "configured\n"


def test_a_configuration_that_cannot_be_read(desk: Desk) -> None:
    (desk.ssh / "config").write_text("Port many\n")
    error = error_of(desk.shell(22))
    assert error.kind == "unavailable"
    assert str(error).startswith("the SSH configuration or a key cannot be used: ")


def test_a_key_with_a_passphrase_is_for_the_agent(server: AsyncSshServer, desk: Desk) -> None:
    locked = make_key(desk.ssh, "locked", passphrase="open sesame")
    error = error_of(desk.shell(server, keys=[locked]))
    assert (error.kind, str(error)) == ("auth", "the SSH key has a passphrase: add it to the ssh agent")


def test_one_connection_is_kept(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server)
    assert [shell.run(HOST, f"echo {n}", 10) for n in range(5)] == [f"{n}\n" for n in range(5)]
    assert server.logins == 1


def test_a_lost_connection_is_made_again(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server)
    assert shell.run(HOST, "echo 1", 10) == "1\n"
    server.drop_links()
    assert shell.run(HOST, "echo 2", 10) == "2\n"
    assert server.logins == 2


def test_lost_in_the_middle_of_the_first_command(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(shell.run, HOST, "sleep 20", 10)
        while not server.running:
            time.sleep(0.01)
        server.drop_links()
        error = answer.exception(10)
    assert isinstance(error, SourceError)
    assert error.kind == "unreachable"


def test_a_command_that_does_not_end(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server)
    began = time.monotonic()
    error = error_of(shell, "sleep 60", timeout_s=0.3)
    assert (error.kind, str(error)) == ("timeout", "127.0.0.1 did not finish the command within 0.3 s")
    assert time.monotonic() - began < 5
    assert shell.run(HOST, "echo next", 10) == "next\n"


def test_an_account_that_runs_nothing(server: AsyncSshServer, desk: Desk) -> None:
    error = error_of(desk.shell(server), "echo 'This account is currently not available.' >&2; exit 1")
    assert error.kind == "forbidden"
    assert str(error) == "127.0.0.1 did not run the command: This account is currently not available."


def test_an_account_s_words_are_made_plain(server: AsyncSshServer, desk: Desk) -> None:
    assert "\x1b" not in str(error_of(desk.shell(server), "printf '\\033]52;c;eA==\\007' >&2; exit 1"))


def test_nobody_listens(desk: Desk) -> None:
    error = error_of(desk.shell(free_port()))
    assert (error.kind, str(error)) == ("unreachable", "127.0.0.1: connection refused")


def test_nobody_listens_on_any_of_its_addresses(desk: Desk) -> None:
    error = error_of(desk.shell(free_port()), host="localhost")
    assert (error.kind, str(error)) == ("unreachable", "localhost: connection refused")


def test_a_name_that_nobody_knows(desk: Desk) -> None:
    error = error_of(desk.shell(22), host="no-such-host.invalid")
    assert (error.kind, str(error)) == ("unreachable", "no-such-host.invalid: the name is not known")


def test_a_port_that_takes_the_call_and_says_nothing(desk: Desk) -> None:
    with socket.create_server((HOST, 0)) as silent:
        error = error_of(desk.shell(silent.getsockname()[1], connect_timeout_s=0.3))
    assert (error.kind, str(error)) == ("timeout", "no SSH answer from 127.0.0.1 within 0.3 s")


def test_a_port_that_speaks_something_else(desk: Desk) -> None:
    with socket.create_server((HOST, 0)) as other:

        def answer() -> None:
            link, _ = other.accept()
            link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        error = error_of(desk.shell(other.getsockname()[1]))
        thread.join(5)
    assert error.kind in ("protocol", "unreachable")


def test_no_more_at_once_than_allowed(server: AsyncSshServer, desk: Desk) -> None:
    """Each name is a connection of its own, so that only the bound keeps them apart."""
    names = [f"host-{n}" for n in range(6)]
    (desk.ssh / "config").write_text(f"Host host-*\n  HostName {HOST}\n  HostKeyAlias {HOST}\n")
    shell = desk.shell(server, concurrency=2)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda name: shell.run(name, "sleep 0.1; echo ok", 10), names))
    assert answers == ["ok\n"] * 6
    assert server.most_running <= 2


def test_closed_shells_refuse_and_pending_calls_end(server: AsyncSshServer, desk: Desk) -> None:
    shell = desk.shell(server)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(shell.run, HOST, "sleep 20", 30)
        while not server.running:
            time.sleep(0.01)
        shell.close()
        assert isinstance(answer.exception(5), SourceError)
    assert error_of(shell).kind == "unavailable"
    shell.close()


def test_secrets_stay_out_of_the_repr(desk: Desk) -> None:
    assert "operator" not in repr(desk.shell(22))
