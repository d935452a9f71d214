"""The fact command, really run by /bin/sh on a host's files below a folder, and its answer parsed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sources.fake_host_tree import gpu_host, mdev_parent, run_facts, write
from vgpu_console.model.host_facts import SshFacts
from vgpu_console.sources.fact_command import FACT_COMMAND, FACT_SCRIPT, OUTPUT_LIMIT
from vgpu_console.sources.ssh_parse import parse_answer, parse_facts

BUSYBOX = shutil.which("busybox")
AWKS = [a for a in ("mawk", "gawk", "original-awk", "busybox") if shutil.which(a)]
SHELLS = [s for s in ("/bin/sh", "dash", "bash", "ksh", "mksh") if shutil.which(s)]


def facts_of(root: Path) -> SshFacts:
    return parse_facts("gpu-01", run_facts(root))


@pytest.fixture
def host(tmp_path: Path) -> Path:
    root = tmp_path / "a root"  # a blank in it shows every unquoted path
    root.mkdir()
    return gpu_host(root)


@pytest.fixture(params=AWKS)
def awk_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which awk is this one of those that hosts have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "awk").symlink_to(str(shutil.which(request.param)))
    return f"{folder}:{os.defpath}"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gives_the_same_answer(host: Path, shell: str) -> None:
    write(host, "/etc/nova/nova.conf", NOVA_CONF)
    assert run_facts(host, (str(shutil.which(shell)),)) == run_facts(host)


def test_every_awk_gives_the_same_answer(host: Path, awk_path: str) -> None:
    write(host, "/etc/nova/nova.conf", NOVA_CONF)
    assert run_facts(host, path=awk_path) == run_facts(host)


@pytest.mark.skipif(not BUSYBOX, reason="no busybox on this machine")
def test_a_host_whose_every_command_is_busybox(host: Path, tmp_path: Path) -> None:
    write(host, "/etc/nova/nova.conf", NOVA_CONF)
    folder = tmp_path / "applets"
    folder.mkdir()
    for applet in ("sh", "awk", "grep", "sed", "xargs", "ls", "head", "timeout", "cat", "date"):
        (folder / applet).symlink_to(str(BUSYBOX))
    assert run_facts(host, (str(folder / "sh"),), path=str(folder)) == run_facts(host)


def test_the_command_runs_as_it_is_sent_and_ends_with_its_end() -> None:
    done = subprocess.run(FACT_COMMAND, shell=True, capture_output=True, timeout=60, check=True)
    text = done.stdout.decode()
    assert text.startswith("==vgpu-console-facts 1==\n")
    assert text.endswith("==end==\n")
    assert parse_facts("here", text).kernel == os.uname().release
    assert done.stderr == b""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
def test_no_shell_reads_what_is_meant_for_sh(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", FACT_COMMAND.replace("/bin/sh -c", "printf %s")], capture_output=True, check=False
    )
    # exec takes the builtin's name as a program, which prints its one argument: the script, whole and unread
    assert done.stdout.decode() == FACT_SCRIPT


def test_the_host_in_words(host: Path) -> None:
    facts = facts_of(host)
    assert facts.kernel == "5.14.0-427.13.1.el9_4.x86_64"
    assert (facts.os_id, facts.os_version) == ("rhel", "9.4")
    assert facts.os_name == "Red Hat Enterprise Linux 9.4 (Plow)"
    assert facts.nvidia_driver == "550.90.05"
    assert facts.gpu_models == (
        ("0000:41:00.0", "NVIDIA A100-PCIE-40GB"),
        ("0000:5e:00.0", "Tesla T4"),
        ("0000:c1:00.0", "NVIDIA H200 NVL"),
    )


def test_pci_functions_with_their_driver_and_parent(host: Path) -> None:
    functions = {f.address: f for f in facts_of(host).pci}
    assert sorted(functions) == [
        "0000:41:00.0",
        "0000:41:00.4",
        "0000:41:00.5",
        "0000:5e:00.0",
        "0000:c1:00.0",
        "0000:c1:00.4",
    ]
    pf, vf, t4 = functions["0000:41:00.0"], functions["0000:41:00.4"], functions["0000:5e:00.0"]
    assert (pf.vendor_id, pf.product_id, pf.driver) == ("10de", "20f1", "nvidia")
    assert (pf.sriov_numvfs, pf.sriov_totalvfs, pf.numa_node, pf.physical_function) == (2, 16, 1, None)
    assert (vf.physical_function, vf.sriov_totalvfs, vf.current_vgpu_type) == ("0000:41:00.0", None, None)
    assert (t4.numa_node, t4.sriov_totalvfs) == (None, None)  # -1 says that the firmware does not know


def test_vendor_vfio_files(host: Path) -> None:
    vf = next(f for f in facts_of(host).pci if f.address == "0000:c1:00.4")
    assert vf.current_vgpu_type == 0
    assert vf.creatable_vgpu_types == ((1414, "NVIDIA H200X-1-18C"), (1415, "NVIDIA H200X-1-18CME"))


def test_types_of_every_function_though_said_once(host: Path) -> None:
    text = run_facts(host)
    assert text.count("GRID A100-20C") == 1
    types = {(t.address, t.type_id): t for t in parse_facts("gpu-01", text).types}
    assert len(types) == 5
    for vf in ("0000:41:00.4", "0000:41:00.5"):
        t = types[vf, "nvidia-472"]
        assert (t.name, t.framebuffer_mib, t.max_instances, t.available_instances) == ("GRID A100-20C", 20480, 2, 1)
    assert types["0000:5e:00.0", "nvidia-231"].max_instances == 8


def test_a_function_that_says_otherwise_is_heard(host: Path) -> None:
    """In mixed-size mode a GPU's maximum drops; another GPU of the same kind on the next bus keeps its own."""
    other = {"nvidia-472": ("GRID A100-20C", "framebuffer=20480M, max_instance=1", 0)}
    mdev_parent(host, "0000:41:00.6", other)
    mdev_parent(host, "0000:41:00.7", {"nvidia-472": ("GRID A100-20C", "framebuffer=20480M, max_instance=2", 0)})
    types = {(t.address, t.type_id): t.max_instances for t in facts_of(host).types}
    assert types["0000:41:00.5", "nvidia-472"] == 2
    assert types["0000:41:00.6", "nvidia-472"] == 1
    assert types["0000:41:00.7", "nvidia-472"] == 2


def test_mdev_bus_absent_empty_and_populated(host: Path, tmp_path: Path) -> None:
    assert facts_of(host).mdev_bus is True
    shutil.rmtree(host / "sys/class/mdev_bus")
    assert facts_of(host).mdev_bus is False
    (host / "sys/class/mdev_bus").mkdir()
    assert facts_of(host).mdev_bus is False
    assert facts_of(host).types == ()


def test_a_host_without_any_gpu(tmp_path: Path) -> None:
    write(tmp_path, "/proc/sys/kernel/osrelease", "6.1.0\n")
    facts = facts_of(tmp_path)
    assert facts == SshFacts(host="gpu-01", kernel="6.1.0", mdev_bus=False, mdev_autostart={}, tools={})


NOVA_CONF = """\
# a comment with my_ip = 1
[DEFAULT]
host = gpu-01.example.org
compute_driver = libvirt.LibvirtDriver
transport_url = rabbit://nova:s3cr3t@10.0.0.1:5672/
max_concurrent_live_migrations = 2

[devices]
enabled_mdev_types = nvidia-471,
  nvidia-472
[mdev_nvidia-471]
device_addresses = 0000:41:00.4,
    0000:41:00.5
[mdev_nvidia-472]
mdev_class: CUSTOM_A100_20C
max_instances = "2"
[libvirt]
live_migration_downtime = 500000
live_migration_downtime_steps=3
live_migration_permit_post_copy = False
live_migration_inbound_addr = $my_ip
connection_uri = qemu+ssh://root:s3cr3t@x/system
[pci]
device_spec = {"vendor_id":"10de", "product_id":"25b6", "address":"0000:25:00.4",
  "resource_class":"CUSTOM_A16_16A", "managed":"no"}
device_spec = {"address": {"domain": ".*", "bus": "02", "slot": "01", "function": "[0-2]"}, "physical_network": "net1"}
alias = {"device_type":"type-VF","resource_class":"CUSTOM_A16_16A","name":"A16_16A","live_migratable":"yes"}
report_in_placement = true
[quota]
driver = nova.quota.UnifiedLimitsDriver
unified_limits_resource_list = servers,class:VGPU
[workarounds]
skip_hypervisor_version_check_on_lm = true
"""


def test_nova_conf_gives_the_named_options(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", NOVA_CONF)
    facts = facts_of(host)
    assert facts.nova_conf_path == "/etc/nova/nova.conf"
    assert facts.nova_conf == {
        "DEFAULT.host": "gpu-01.example.org",
        "DEFAULT.compute_driver": "libvirt.LibvirtDriver",
        "DEFAULT.max_concurrent_live_migrations": "2",
        "devices.enabled_mdev_types": "nvidia-471, nvidia-472",
        "mdev_nvidia-471.device_addresses": "0000:41:00.4, 0000:41:00.5",
        "mdev_nvidia-472.mdev_class": "CUSTOM_A100_20C",
        "mdev_nvidia-472.max_instances": "2",
        "libvirt.live_migration_downtime": "500000",
        "libvirt.live_migration_downtime_steps": "3",
        "libvirt.live_migration_permit_post_copy": "False",
        "libvirt.live_migration_inbound_addr": "$my_ip",
        "pci.device_spec": '{"vendor_id": "10de", "product_id": "25b6", "address": "0000:25:00.4", '
        '"resource_class": "CUSTOM_A16_16A", "managed": "no"}; '
        '{"address.domain": ".*", "address.bus": "02", "address.slot": "01", "address.function": "[0-2]", '
        '"physical_network": "net1"}',
        "pci.alias": '{"device_type": "type-VF", "resource_class": "CUSTOM_A16_16A", "name": "A16_16A", '
        '"live_migratable": "yes"}',
        "pci.report_in_placement": "true",
        "quota.driver": "nova.quota.UnifiedLimitsDriver",
        "quota.unified_limits_resource_list": "servers,class:VGPU",
        "workarounds.skip_hypervisor_version_check_on_lm": "true",
    }


SNEAKY = {
    "a connection string": "[database]\nconnection = mysql+pymysql://nova:s3cr3t@db/nova\n",
    "a password in a group that is read": "[libvirt]\nlive_migration_downtime = 500\npassword = s3cr3t\n",
    "an option with a near name": "[libvirt]\nlive_migration_uri = qemu+ssh://root:s3cr3t@%s/system\n",
    "a secret behind a number": "[libvirt]\nlive_migration_downtime = 500\n  password = s3cr3t\n",
    "a continuation line of another option": "[neutron]\npassword =\n  live_migration_downtime = s3cr3t\n",
    "a continuation line in a list": "[devices]\nenabled_mdev_types = nvidia-472,\n  password = s3cr3t\n",
    "a continued list without a comma": "[devices]\nenabled_mdev_types = nvidia-472\n  s3cr3t-1\n",
    "a continuation of a flag": "[libvirt]\nlive_migration_permit_post_copy = true\n\ts3cr3t\n",
    "a password in a device": '[pci]\ndevice_spec = {"vendor_id":"10de","password":"s3cr3t","x":{"name":"s3cr3t"}}\n',
    "words behind a device": '[pci]\ndevice_spec = {"vendor_id":"10de"} s3cr3t\n  admin_password = s3cr3t\n',
    "an address in a device": '[pci]\nalias = {"name":"a16","device_type":"type-VF s3cr3t","vendor_id":"s3cr3t"}\n',
    "a value in quotes": "[DEFAULT]\nhost = \"gpu 's3cr3t'\"\n",
    "a section that ends nowhere": "[libvirt\nlive_migration_downtime = s3cr3t\n[keystone_authtoken\npassword=s3cr3t\n",
    "a comment": "[libvirt]\n#live_migration_downtime = s3cr3t\n; live_migration_scheme = s3cr3t\n",
    "a secret in a group's name": "[mdev_s3cr3t ]\nmax_instances = 1\n[s3cr3t]\nlive_migration_downtime = 1\n",
    "an address list": "[mdev_nvidia-1]\ndevice_addresses = 0000:41:00.4, s3cr3t\n",
    "no newline at the end": "[keystone_authtoken]\npassword = s3cr3t",
    "windows line ends": "[libvirt]\r\nlive_migration_downtime = 500\r\n password = s3cr3t\r\npassword = s3cr3t\r\n",
    "a form feed and a tab": "[libvirt]\nlive_migration_downtime = 500\f\n\tpassword = s3cr3t\n",
    "an equals sign in the value": "[quota]\ndriver = nova.quota.X password=s3cr3t\n",
    "a NUL byte": "[libvirt]\nlive_migration_downtime = 5\0s3cr3t\npassword = s3cr3t\n",
    "a section sign in a line": "[DEFAULT]\ntransport_url = s3cr3t\n==end==\n[libvirt]\npassword = s3cr3t\n",
}


@pytest.mark.parametrize("name", SNEAKY)
def test_no_secret_crosses(host: Path, name: str, awk_path: str) -> None:
    write(host, "/etc/nova/nova.conf", SNEAKY[name] + "\n[devices]\nenabled_mdev_types = nvidia-9\n")
    text = run_facts(host, path=awk_path)
    assert "s3cr3t" not in text
    assert "/etc/nova/nova.conf\tdevices.enabled_mdev_types=nvidia-9\n" in text  # what follows is still read


def test_no_secret_crosses_when_all_stand_in_one_file(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", "\n".join(SNEAKY.values()))
    write(host, "/etc/nova/nova.conf.d/s3.conf", "[libvirt]\npassword = s3cr3t\n  s3cr3t\n")
    assert "s3cr3t" not in run_facts(host)


def test_a_value_of_another_form_is_unknown_and_said_so(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", "[libvirt]\nlive_migration_downtime = 500\nlive_migration_downtime = soon\n")
    facts, notes = parse_answer("gpu-01", run_facts(host))
    assert facts.nova_conf == {}
    assert notes == ("/etc/nova/nova.conf: libvirt.live_migration_downtime is set to something of an unexpected form",)


def test_later_files_override_and_multi_values_add_up(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", '[DEFAULT]\nhost = a\nhost = b\n[pci]\nalias = {"name": "one"}\n')
    write(host, "/etc/nova/nova-compute.conf", "[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n")
    write(host, "/etc/nova/nova.conf.d/10-first.conf", "[DEFAULT]\nhost = c\n")
    write(
        host,
        "/etc/nova/nova.conf.d/20-last.conf",
        '[DEFAULT]\nhost = d\n[pci]\nalias = [{"name": "two"}, {"name": "x"}]\n',
    )
    facts = facts_of(host)
    assert facts.nova_conf == {
        "DEFAULT.host": "d",
        "DEFAULT.compute_driver": "libvirt.LibvirtDriver",
        "pci.alias": '{"name": "one"}; {"name": "two"}; {"name": "x"}',
    }
    assert facts.nova_conf_path == (
        "/etc/nova/nova.conf, /etc/nova/nova-compute.conf, /etc/nova/nova.conf.d/10-first.conf, "
        "/etc/nova/nova.conf.d/20-last.conf"
    )


def test_a_group_does_not_run_on_into_the_next_file(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", "[libvirt]\nlive_migration_downtime = 500")
    write(host, "/etc/nova/nova.conf.d/1.conf", "host = x\nlive_migration_downtime = 900\n")
    assert facts_of(host).nova_conf == {"libvirt.live_migration_downtime": "500", "DEFAULT.host": "x"}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/kolla/nova-compute/nova.conf",
        "/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf",
        "/var/lib/openstack/config/nova/01-nova.conf",
        "/etc/nova/nova-cpu.conf",
    ],
)
def test_where_deployments_keep_it(host: Path, path: str) -> None:
    write(host, path, "[devices]\nenabled_mdev_types = nvidia-472\n")
    facts = facts_of(host)
    assert facts.nova_conf == {"devices.enabled_mdev_types": "nvidia-472"}
    assert facts.nova_conf_path == path


def test_the_container_s_configuration_wins_over_the_package_s(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", "[DEFAULT]\nhost = package\n")
    write(host, "/etc/kolla/nova-compute/nova.conf", "[DEFAULT]\nhost = kolla\n")
    assert facts_of(host).nova_conf == {"DEFAULT.host": "kolla"}


def test_no_nova_conf_is_unknown(host: Path) -> None:
    facts, notes = parse_answer("gpu-01", run_facts(host))
    assert (facts.nova_conf, facts.nova_conf_path, notes) == (None, None, ())


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads every file")
def test_an_unreadable_nova_conf_is_unknown_and_said_so(host: Path) -> None:
    write(host, "/etc/nova/nova.conf", "[DEFAULT]\nhost = x\n").chmod(0)
    shell: tuple[str, ...] = ("/bin/sh",)
    if os.geteuid() == 0:
        shell = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh")
        for folder in host.parents:
            if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
    facts, notes = parse_answer("gpu-01", run_facts(host, shell))
    assert facts.kernel == "5.14.0-427.13.1.el9_4.x86_64"
    assert (facts.nova_conf, facts.nova_conf_path) == (None, None)
    assert notes == ("/etc/nova/nova.conf may not be read by this user",)


def test_a_flood_is_cut_on_the_far_side(host: Path) -> None:
    write(host, "/etc/os-release", "ID=x\n" * 1_500_000)
    text = run_facts(host)
    assert len(text) == OUTPUT_LIMIT
    facts, notes = parse_answer("gpu-01", text)
    assert facts.os_id == "x"
    assert notes == ("the answer is cut short: some facts of this host are missing",)


def test_a_large_host_fits(host: Path) -> None:
    """Eight GPUs with 32 functions and 20 types each: far below the limit, and no list of arguments is too long."""
    types = {f"nvidia-{n}": (f"NVIDIA A40-{n}Q", f"framebuffer={n}M, max_instance={n}", 1) for n in range(20)}
    for bus in range(0x60, 0x68):
        for fn in range(32):
            mdev_parent(host, f"0000:{bus:x}:{fn // 8:02x}.{fn % 8}", types)
    text = run_facts(host)
    assert len(parse_facts("gpu-01", text).types) == 5 + 8 * 32 * 20
    assert len(text) < OUTPUT_LIMIT / 8


def test_mdevctls_definitions_tell_what_starts_with_its_function(tmp_path: Path) -> None:
    """Pretty-printed as mdevctl writes them, with a folder of scripts beside them as it is packaged."""
    auto, manual = "4b20d080-1b54-4048-85b3-a6a62d165c01", "5c31e191-2c65-4159-96c4-b7b73e276d12"
    for uuid, start in ((auto, "auto"), (manual, "manual")):
        text = f'{{\n  "mdev_type": "nvidia-472",\n  "start": "{start}",\n  "attrs": []\n}}'
        write(tmp_path, f"/etc/mdevctl.d/0000:41:00.4/{uuid}", text)
    write(tmp_path, "/etc/mdevctl.d/scripts.d/notes", '"start": "auto"\n')
    assert facts_of(tmp_path).mdev_autostart == {auto: True, manual: False}
