r"""The one constant command that a host is asked over SSH.

It is POSIX sh for an unprivileged user, changes nothing, and reads many files with few processes. Of nova.conf only the
options named in the awk program below leave the host, and of those only values that have the form the option takes
(numbers, type names, PCI addresses …), so that nothing that could be a secret crosses the wire.

What it prints: sections that start with ``==name==``, always in this order, ``==end==`` last. Paths are relative::

    ==vgpu-console-facts 1==
    ==clock==                     seconds since the epoch when the command began; again before the end
    ==kernel==                    one line: /proc/sys/kernel/osrelease
    ==os-release==                ID=, VERSION_ID= and PRETTY_NAME= lines of os-release
    ==nvidia==                    "module:<version>" of /sys/module/nvidia/version; the "NVRM version: …" line
    ==cpu==                       the first "model name" line of /proc/cpuinfo
    ==gpus==                      0000:41:00.0/information:Model: \t\t NVIDIA A100-PCIE-40GB
                                  0000:41:00.0/information:GPU Firmware: \t 580.159.04     (N/A: no GSP firmware runs)
    ==pci==                       0000:41:00.0/vendor:0x10de      also device, class, numa_node, sriov_numvfs and
                                  sriov_totalvfs, of PCI class 0x03 (display) only
    ==links==                     0000:41:00.4/driver -> ../../../../bus/pci/drivers/nvidia
                                  0000:41:00.4/physfn -> ../0000:41:00.0
    ==vgpu==                      0000:41:00.4/nvidia/current_vgpu_type:0
                                  0000:41:00.4/nvidia/creatable_vgpu_types:1414 : NVIDIA H200X-1-18C
    ==mdev_bus==                  "no", or "yes <number of devices in /sys/class/mdev_bus>"
    ==mdev_types==                0000:41:00.4/nvidia-472/name:GRID A100-20C
                                  0000:41:00.4/nvidia-472/description:num_heads=1, …, max_instance=2
                                  0000:41:00.4/nvidia-472/available_instances:1
                                  name and description are left out where the function before it on the same bus said
                                  the same of that type; available_instances is always said, and last of a type
    ==mdev_definitions==          0000:41:00.4/4b20d080-1b54-4048-85b3-a6a62d165c01:  "start": "auto",
                                  mdevctl's own files, since libvirt tells autostart to nobody who may not change it
    ==nova_conf_files==           /etc/nova/nova.conf readable       (or: unreadable), a line per file looked at
    ==nova_conf==                 /etc/nova/nova.conf<TAB>devices.enabled_mdev_types=nvidia-472
                                  a line per option and file, in the order oslo.config reads them, later ones override;
                                  pci.device_spec and pci.alias: a line per value, all hold;
                                  "<path><TAB><group.option>!" when its value has not the form that option takes
    ==tools==                     mdevctl:/usr/sbin/mdevctl     a line for each of TOOLS that is installed
    ==rights==                    create_mdev:yes, set_vgpu_type:no: whether this user may write the first mdev "create"
                                  or "current_vgpu_type" file there is; a line is left out where there is no such file
    ==programs==                  "nvidia-smi:" absent, no-timeout (nothing here could end it) or stuck (an earlier one
                                  hangs in the driver, see below); then what programs said, see _PROGRAMS_AWK:
                                  libvirt:libvirtd (libvirt) 10.0.0        qemu:QEMU emulator version 8.2.2
                                  query:00000000:41:00.0, NVIDIA A100-PCIE-40GB, Enabled, Enabled, Disabled
                                  types:GPU 00000000:41:00.0               types:vGPU Type ID : 0x1d8 …
                                  modes:<gpu id="00000000:41:00.0">        modes:<host_vgpu_mode>SR-IOV</host_vgpu_mode>
                                  query status 0                           the exit status, when it has ended
    ==clock==
    ==end==

nvidia-smi can take seconds, and in a driver that is stuck it cannot even be killed. So it runs beside the command and
not in it: each program is killed after PROGRAM_LIMIT_S, the command reads what they say for PROGRAMS_LIMIT_S at most,
and while an earlier nvidia-smi has been hanging in the kernel for half a minute no other is started. Whether ``sudo``
would let this user do more is not tried: a refusal is logged on the host, and mailed to its administrator, each time.
"""

from __future__ import annotations

import shlex

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes; the far side stops writing here, and the near side stops reading here."""

PROGRAM_LIMIT_S = 5
"""Seconds after which a program that the command runs is killed; none is run after it."""

PROGRAMS_LIMIT_S = 6
"""Seconds that the command spends on all programs together."""

GPU_QUERY = ("--query-gpu=pci.bus_id,name,ecc.mode.current,ecc.mode.pending,mig.mode.current", "--format=csv,noheader")
"""What nvidia-smi is asked first: the fields of a line are in this order."""

TYPES_QUERY = ("vgpu", "-s", "-v")
"""The types that each GPU supports, with their maxima, whatever exists on it now."""

MODES_QUERY = ("-q", "-x")
"""Everything: the only form that tells the vGPU modes, and the one for drivers that know not all of GPU_QUERY."""

TOOLS = {
    "nvidia-smi": ("/usr/bin", "/usr/local/bin", "/bin"),
    "mdevctl": ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"),
    "sriov-manage": ("/usr/lib/nvidia", "/usr/lib64/nvidia", "/usr/bin", "/usr/sbin"),
    "sudo": ("/usr/bin", "/bin", "/usr/local/bin"),
    "libvirtd": ("/usr/sbin", "/sbin", "/usr/local/sbin"),
    "virtqemud": ("/usr/sbin", "/sbin", "/usr/local/sbin"),
    "qemu-kvm": ("/usr/libexec", "/usr/bin"),
    "qemu-system-x86_64": ("/usr/bin", "/usr/local/bin"),
    "qemu-system-aarch64": ("/usr/bin", "/usr/local/bin"),
}
"""Programs that say what the host can do, and the folders where each is looked for."""

# The selection of nova.conf, for mawk, gawk and busybox awk (no interval expressions, no gensub). It follows
# oslo.config: a line that starts with a blank continues the value above it, a comment or an empty line ends it, either
# of = and : divides, whichever is first. A value that is continued is joined with a blank, so that the form of a scalar
# no longer fits and nothing of it is printed.
_NOVA_CONF_AWK = r"""
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
function each(v, re,   n, i, part) {
  n = split(v, part, ",")
  for (i = 1; i <= n; i++) if (trim(part[i]) != "" && trim(part[i]) !~ re) return 0
  return 1
}
function fits(v, kind) {
  if (v == "" || length(v) > 8192) return 0
  if (kind == "int") return v ~ /^-?[0-9]+$/ && length(v) < 12
  if (kind == "bool") return tolower(v) ~ /^(true|false|yes|no|on|off|0|1)$/
  if (kind == "action") return v ~ /^(abort|force_complete)$/
  if (kind == "strategy") return v ~ /^(require|ignore)$/
  if (kind == "scheme") return v ~ /^(tcp|ssh|tls|unix)$/
  if (kind == "driver") return v ~ /^[a-z_]+(\.[A-Za-z_]+)+$/
  if (kind == "address") return v ~ /^([$][a-z_]+|[A-Za-z0-9.:%_-]+)$/
  if (kind == "class") return v ~ /^(VGPU|CUSTOM_[A-Z0-9_]+)$/
  if (kind == "types") return each(v, "^[A-Za-z0-9_]+-[A-Za-z0-9_.]+$")
  if (kind == "devices") return each(v, "^([0-9A-Fa-f]+:[0-9A-Fa-f]+:[0-9A-Fa-f]+[.][0-7]|[a-z0-9]+_[a-z0-9]+)$")
  if (kind == "limits") return each(v, "^(server[a-z_]*|class:[A-Z0-9_]+)$")
  return 0
}
function objects(v, where,   found, depth, one, pair, name, at) {
  found = 0; depth = 0; one = ""; name = ""
  while (match(v, /[{}]|"[A-Za-z_]+"[ \t]*:[ \t]*("[^"]*"|[a-z0-9]+|[{])/)) {
    at = substr(v, RSTART, RLENGTH); v = substr(v, RSTART + RLENGTH)
    if (at == "{") { depth++; continue }
    if (at == "}") {
      if (depth > 0) depth--
      name = ""
      if (depth == 0 && one != "") { print where "={" one "}"; one = ""; found = 1 }
      continue
    }
    pair = at; sub(/^"/, "", pair); sub(/".*/, "", pair)
    sub(/^"[A-Za-z_]+"[ \t]*:[ \t]*/, "", at)
    if (at == "{") { depth++; name = pair "."; continue }
    gsub(/"/, "", at)
    if (length(at) > 80 || !((name pair) in spec) || at !~ spec[name pair]) continue
    one = one (one == "" ? "" : ", ") "\"" name pair "\": \"" at "\""
  }
  return found
}
function flush(   where) {
  if (kind != "") {
    where = file "\t" option
    if (kind != "json") print where (fits(value, kind) ? "=" value : "!")
    else if (!objects(value, where)) print where "!"
  }
  kind = ""; value = ""
}
BEGIN {
  n = split("DEFAULT.host address DEFAULT.compute_driver driver DEFAULT.max_concurrent_live_migrations int " \
    "compute.max_concurrent_live_migrations int DEFAULT.migrate_max_retries int DEFAULT.long_rpc_timeout int " \
    "devices.enabled_mdev_types types devices.enabled_vgpu_types types mdev_.device_addresses devices " \
    "mdev_.mdev_class class mdev_.max_instances int vgpu_.device_addresses devices vgpu_.mdev_class class " \
    "vgpu_.max_instances int libvirt.live_migration_completion_timeout int " \
    "libvirt.live_migration_timeout_action action libvirt.live_migration_downtime int " \
    "libvirt.live_migration_downtime_steps int libvirt.live_migration_downtime_delay int " \
    "libvirt.live_migration_permit_post_copy bool libvirt.live_migration_permit_auto_converge bool " \
    "libvirt.live_migration_parallel_connections int libvirt.live_migration_monitor_interval int " \
    "libvirt.live_migration_bandwidth int libvirt.live_migration_inbound_addr address " \
    "libvirt.live_migration_scheme scheme libvirt.live_migration_with_native_tls bool " \
    "libvirt.live_migration_tunnelled bool quota.driver driver quota.unified_limits_resource_strategy strategy " \
    "quota.unified_limits_resource_list limits pci.device_spec json pci.passthrough_whitelist json pci.alias json " \
    "pci.report_in_placement bool filter_scheduler.pci_in_placement bool " \
    "workarounds.skip_hypervisor_version_check_on_lm bool " \
    "workarounds.unified_limits_count_pcpu_as_vcpu bool", list, " ")
  for (i = 1; i < n; i += 2) kinds[list[i]] = list[i + 1]
  hex = "^[0-9A-Fa-f]+$"; word = "^[A-Za-z0-9_-]+$"; flag = "^[A-Za-z]+$"; some = "^[][0-9A-Fa-f.*+?:|^$(),-]+$"
  spec["vendor_id"] = hex; spec["product_id"] = hex; spec["address"] = some; spec["resource_class"] = "^[A-Za-z0-9_]+$"
  spec["traits"] = "^[A-Za-z0-9_, ]+$"; spec["managed"] = flag; spec["live_migratable"] = flag
  spec["one_time_use"] = flag; spec["remote_managed"] = flag; spec["trusted"] = flag; spec["device_type"] = word
  spec["numa_policy"] = "^[a-z_]+$"; spec["name"] = word; spec["physical_network"] = word
  n = split("domain bus slot function", list, " ")
  for (i = 1; i <= n; i++) spec["address." list[i]] = some
}
FNR == 1 { flush(); group = "DEFAULT"; file = substr(FILENAME, length(root) + 1) }
{ sub(/[ \t\r\f\v]+$/, "") }
/^$/ { flush(); next }
/^[ \t]/ { if (kind != "") value = value " " trim($0); next }
{ flush() }
/^[#;]/ { next }
/^\[/ {
  group = $0; sub(/^\[/, "", group)
  if (!sub(/\].*$/, "", group)) group = "?"
  next
}
{
  at = match($0, /[=:]/)
  if (!at) next
  name = trim(substr($0, 1, at - 1)); value = trim(substr($0, at + 1))
  if (value ~ /^".*"$/ || value ~ /^\047.*\047$/) value = substr(value, 2, length(value) - 2)
  plain = group
  if (group ~ /^(mdev|vgpu)_[A-Za-z0-9_.-]+$/) plain = substr(group, 1, 5)
  option = group "." name
  kind = ((plain "." name) in kinds) ? kinds[plain "." name] : ""
}
END { flush() }
"""

# Name and description are the same on every virtual function of a GPU: said once per bus and type, which makes the
# answer of a host with hundreds of virtual functions several times shorter.
_MDEV_TYPES_AWK = r"""
{
  at = match($0, /\/[a-z_]+:/)
  if (!at) next
  what = substr($0, at + 1, RLENGTH - 2); said = substr($0, at + RLENGTH); path = substr($0, 1, at - 1)
  type = path; sub(/^.*\//, "", type)
  device = path; sub(/\/.*/, "", device)
  bus = device; sub(/:[^:]*$/, "", bus)
  seen = bus " " type " " what
  if (what != "available_instances") { if ((seen in last) && last[seen] == said) next; last[seen] = said }
  print device "/" type "/" what ":" said
}
"""

# Of what programs say only what is wanted leaves the host, on lines that start with a word of this program, so that
# none can pass for a heading. "@word" starts an answer and "@status <n>" ends it; the first line of every answer is
# kept, which is what a program that fails has to say.
_PROGRAMS_AWK = r"""
length($0) > 400 { next }
/^@status [0-9]+$/ { if (what != "") print what " status " $2; what = ""; next }
/^@[a-z]+$/ { what = substr($0, 2); lines = 0; next }
what == "" { next }
{
  gsub(/[ \t\r]+/, " "); sub(/^ /, ""); sub(/ $/, "")
  if ($0 == "") next
  wanted = lines++ == 0
  if (what == "query") wanted = lines <= 256
  if (what == "types") wanted += /^GPU [0-9A-Fa-f:.]+$/ || /^(vGPU Type ID|Name|FB Memory) ?:/ ||
    /^(GPU Instance Profile ID|Max Instances) ?:/
  if (what == "modes") wanted = /^<gpu id=/ || /^<(product_name|current_ecc|pending_ecc|current_mig)>/ ||
    /^<(host_vgpu_mode|vgpu_heterogeneous_mode|gsp_firmware_version)>/ || (wanted && !/^</)
  if (wanted && kept[what]++ < 8192) print what ":" $0
}
"""


def _tool_lines() -> str:
    return "\n".join(f"tool {name} {' '.join(folders)}" for name, folders in TOOLS.items())


FACT_SCRIPT = (
    r"""R=
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
exec 2>/dev/null </dev/null
{
echo "==vgpu-console-facts 1=="
echo "==clock=="
date +%s
echo "==kernel=="
grep -hs "" "$R/proc/sys/kernel/osrelease"
echo "==os-release=="
o=$R/etc/os-release; [ -r "$o" ] || o=$R/usr/lib/os-release
grep -hsE "^(ID|VERSION_ID|PRETTY_NAME)=" "$o"
echo "==nvidia=="
grep -hs "" "$R/sys/module/nvidia/version" | sed "s/^/module:/"
grep -hs "^NVRM version" "$R/proc/driver/nvidia/version"
echo "==cpu=="
grep -s -m 1 "^model name" "$R/proc/cpuinfo"
echo "==gpus=="
cd "$R/proc/driver/nvidia/gpus" && grep -HsE "^(Model|GPU Firmware)" /dev/null */information
echo "==pci=="
p=
cd "$R/sys/bus/pci/devices" && p=$(grep -ls "^0x03" /dev/null */class | sed "s,/class$,,") && printf "%s\n" $p |
  awk 'NF { n = split("vendor device class numa_node sriov_numvfs sriov_totalvfs", f, " ")
    for (i = 1; i <= n; i++) print $0 "/" f[i] }' | xargs grep -Hs "" /dev/null
echo "==links=="
[ -n "$p" ] && printf "%s/driver\n" $p | awk '{ print; sub(/driver$/, "physfn"); print }' | xargs ls -ld |
  awk '{ for (i = 2; i < NF; i++) if ($i == "->") print $(i - 1) " -> " $(i + 1) }'
echo "==vgpu=="
[ -n "$p" ] && printf "%s/nvidia/current_vgpu_type\n" $p |
  awk '{ print; sub(/current_vgpu_type$/, "creatable_vgpu_types"); print }' | xargs grep -Hs "" /dev/null
typed=
for a in $p; do
  f=$a/nvidia/current_vgpu_type
  [ -e "$f" ] || continue
  if [ -w "$f" ]; then typed=yes; else typed=no; fi
  break
done
made=
echo "==mdev_bus=="
if cd "$R/sys/class/mdev_bus"; then
  set -- *; [ -e "$1" ] || set --
  echo "yes $#"
  echo "==mdev_types=="
  printf "%s\n" */mdev_supported_types/* |
    awk '{ print $0 "/name"; print $0 "/description"; print $0 "/available_instances" }' |
    xargs grep -Hs "" /dev/null | awk '"""
    + _MDEV_TYPES_AWK
    + r"""'
  for d in *; do
    set -- "$d"/mdev_supported_types/*/create
    [ -e "$1" ] || continue
    if [ -w "$1" ]; then made=yes; else made=no; fi
    break
  done
else
  echo no
  echo "==mdev_types=="
fi
echo "==mdev_definitions=="
cd "$R/etc/mdevctl.d" && printf "%s\n" */* | xargs grep -Hs '"start"' /dev/null
cd /
echo "==nova_conf_files=="
c=$R/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova
for d in "$R/etc/kolla/nova-compute" "$c" "$R/var/lib/openstack/config/nova" "$R/etc/nova"; do
  case $d in */openstack/config/nova) e=$d ;; *) e=$d/nova.conf.d ;; esac
  set --
  for f in "$d/nova.conf" "$d/nova-compute.conf" "$e"/*.conf "$d"/nova-compute.conf.d/*.conf; do
    [ -f "$f" ] || continue
    if [ -r "$f" ]; then echo "${f#"$R"} readable"; set -- "$@" "$f"; else echo "${f#"$R"} unreadable"; fi
  done
  [ $# -eq 0 ] || break
done
[ $# -ne 0 ] || { f=$R/etc/nova/nova-cpu.conf; [ -r "$f" ] && set -- "$f" && echo "${f#"$R"} readable"; }
echo "==nova_conf=="
[ $# -eq 0 ] || awk -v root="$R" '"""
    + _NOVA_CONF_AWK
    + r"""' "$@"
echo "==tools=="
smi= daemon= qemu=
tool() {
  t=$1; shift
  for d in "$@"; do
    [ -f "$R$d/$t" ] && [ -x "$R$d/$t" ] || continue
    echo "$t:$d/$t"
    case $t in
      nvidia-smi) smi=$R$d/$t ;;
      libvirtd | virtqemud) daemon=${daemon:-$R$d/$t} ;;
      qemu-*) qemu=${qemu:-$R$d/$t} ;;
    esac
    return
  done
}
"""
    + _tool_lines()
    + r"""
echo "==rights=="
[ -z "$made" ] || echo "create_mdev:$made"
[ -z "$typed" ] || echo "set_vgpu_type:$typed"
echo "==programs=="
stuck() {
  read -r up idle <"$R/proc/uptime" || return 1
  grep -lsx nvidia-smi "$R"/proc/[0-9]*/comm | sed "s/comm$/stat/" | while read -r f; do grep -s "" "$f"; done |
    awk -v up="$up" '{ sub(/^.*[)] /, ""); if ($1 == "D" && up * 100 - $20 > 3000) found = 1 } END { exit !found }'
}
ask() {
  echo "@$1"; shift
  timeout -s KILL """
    + str(PROGRAM_LIMIT_S)
    + r""" "$@"
  s=$?
  echo "@status $s"
  [ $s -ne 137 ]
}
k=
if ! command -v timeout >/dev/null; then k=no-timeout; elif [ -z "$smi" ]; then k=absent; elif stuck; then k=stuck; fi
[ -z "$k" ] || echo "nvidia-smi:$k"
if [ "$k" != no-timeout ]; then
  (
    (
      { [ -z "$daemon" ] || ask libvirt "$daemon" --version; } &&
        { [ -z "$qemu" ] || ask qemu "$qemu" --version; } &&
        [ -z "$k" ] && ask query "$smi" """
    + shlex.join(GPU_QUERY)
    + r""" &&
        ask types "$smi" """
    + shlex.join(TYPES_QUERY)
    + r""" && ask modes "$smi" """
    + shlex.join(MODES_QUERY)
    + r"""
    ) &
  ) | timeout """
    + str(PROGRAMS_LIMIT_S)
    + r""" cat | awk '"""
    + _PROGRAMS_AWK
    + r"""'
fi
echo "==clock=="
date +%s
echo "==end=="
} | head -c """
    + str(OUTPUT_LIMIT)
    + "\n"
)
"""What runs on the host. ``R`` is the root of every path: empty, and only the tests put a folder there."""

FACT_COMMAND = "exec /bin/sh -c " + shlex.quote(FACT_SCRIPT)
"""The same for a login shell of any kind (bash, zsh, fish …), which hands it to /bin/sh unread."""
