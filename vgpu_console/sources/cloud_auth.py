"""From clouds.yaml, environment or given values to a credential: an auth plugin and how its cloud is to be reached.

openstacksdk reads the configuration, so every auth type and option it knows works here. A credential that is given in
full (the embedded cloud's) is made with keystoneauth alone: importing openstacksdk costs half a second.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from vgpu_console.sources.base import SourceError
from vgpu_console.text import plain


class CloudSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which cloud, and how it differs from what the files say. ``overrides`` may hold secrets: it is never printed."""

    cloud: str | None = None  # a name in clouds.yaml; None: OS_CLOUD, OS_* variables, or the only one there is
    limits_cloud: str | None = None  # a second cloud entry to read limits with, e.g. a system-scoped reader
    region: str | None = None
    interface: str | None = None  # "public", "internal", "admin"
    overrides: dict[str, Any] = {}  # openstacksdk's configuration keys: auth, auth_type, verify, cacert …
    load_files: bool = True  # False: ``overrides`` is all there is

    def __repr__(self) -> str:
        return f"CloudSpec(cloud={self.cloud!r}, limits_cloud={self.limits_cloud!r}, region={self.region!r})"


_SECRET = re.compile(r"password|secret|token|passcode|private|credential_id|\bcode$|assertion", re.IGNORECASE)

_SCOPE_KEYS = frozenset(
    {
        "project_id",
        "project_name",
        "project_domain_id",
        "project_domain_name",
        "tenant_id",
        "tenant_name",
        "domain_id",
        "domain_name",
        "unscoped",
    }
)

_NOT_TWICE = frozenset({"v3totp", "v3multifactor", "v3oidcauthcode", "v3oidcdeviceauthz", "v3websso"})
"""Auth types whose second log-in would ask the operator for a second code."""


class Credential:
    """An auth plugin with the settings of its cloud. Holds secrets; its repr shows none."""

    def __init__(
        self, *, cloud: str, region: str, auth_type: str, auth: dict[str, Any], config: dict[str, Any]
    ) -> None:
        self.cloud = cloud
        self.region = region
        self.auth_type = auth_type
        self._auth = auth
        self.config = config
        self._check_auth_url()
        self.plugin = _plugin(auth_type, auth, cloud)

    def __repr__(self) -> str:
        return f"Credential(cloud={self.cloud!r}, region={self.region!r}, auth_type={self.auth_type!r})"

    def _check_auth_url(self) -> None:
        url = self._auth.get("auth_url")
        try:
            good = url is None or (urlsplit(str(url)).scheme in ("http", "https") and bool(urlsplit(str(url)).hostname))
        except ValueError:
            good = False
        if not good:
            raise SourceError("unavailable", f"cloud '{plain(self.cloud)}': auth_url is not an http:// or https:// URL")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must appear in no message, longest first."""
        found = {str(v) for k, v in self._auth.items() if v and _SECRET.search(k)}
        return tuple(sorted(found, key=len, reverse=True))

    @property
    def user(self) -> str:
        """The user that the configuration names; empty when it names none."""
        return plain(self._auth.get("username") or self._auth.get("user_id") or "", 255)

    @property
    def auth_url(self) -> str:
        """Keystone's address as configured."""
        return str(self._auth.get("auth_url") or "")

    def setting(self, name: str, service: str = "") -> Any:
        """A setting of openstacksdk's, the service's own (``compute_interface``) before the general one."""
        own = self.config.get(f"{service}_{name}") if service else None
        return own if own is not None else self.config.get(name)

    def endpoint_override(self, service: str) -> str | None:
        """The address that the configuration gives for a service, instead of the catalogue's."""
        value = self.config.get(f"{service}_endpoint_override") or self.config.get(f"{service}_endpoint")
        if not value and self.auth_type in ("none", "http_basic", "admin_token"):
            value = self._auth.get("endpoint")
        return str(value) if value else None

    def system_scoped(self) -> Credential | None:
        """The same credential with the whole system as its scope; None where that cannot work.

        Application credentials and trusts are bound to their project; one-time codes cannot be used twice.
        """
        if self.auth_type in _NOT_TWICE or "applicationcredential" in self.auth_type or self._auth.get("trust_id"):
            return None
        if "application_credential_id" in self._auth or self.auth_type.startswith("v2"):
            return None
        import keystoneauth1.loading

        known = {option.dest for option in keystoneauth1.loading.get_plugin_loader(self.auth_type).get_options()}
        if "system_scope" not in known:
            return None
        auth = {k: v for k, v in self._auth.items() if k not in _SCOPE_KEYS}
        auth["system_scope"] = "all"
        return Credential(cloud=self.cloud, region=self.region, auth_type=self.auth_type, auth=auth, config=self.config)


def _plugin(auth_type: str, auth: dict[str, Any], cloud: str) -> Any:
    import keystoneauth1.exceptions as ksa
    import keystoneauth1.loading

    of = f"cloud '{plain(cloud)}'" if cloud else "the configuration"
    try:
        return keystoneauth1.loading.get_plugin_loader(auth_type).load_from_options(**auth)
    except ksa.NoMatchingPlugin:
        raise SourceError("unavailable", f"{of} has an unknown auth_type '{plain(auth_type, 40)}'") from None
    except ksa.MissingRequiredOptions as exc:
        raise SourceError("unavailable", _missing(of, exc)) from None
    except (ksa.ClientException, TypeError, ValueError) as exc:
        raise SourceError("unavailable", f"{of}: auth cannot be used ({type(exc).__name__})") from None


def _missing(of: str, exc: Any) -> str:
    names = ", ".join(str(option.dest) for option in exc.options)
    return f"{of} does not give {plain(names, 200)}"


def open_credential(spec: CloudSpec, *, cloud: str | None = None) -> Credential:
    """The credential that ``spec`` means; ``cloud`` takes another entry of the same files. No request is made.

    Raises SourceError("unavailable") with one line that names the file, the cloud or the key that is wrong.
    """
    if not spec.load_files:
        config = {k: v for k, v in spec.overrides.items() if k != "auth"}
        return Credential(
            cloud=spec.cloud or "",
            region=spec.region or str(config.get("region_name") or ""),
            auth_type=str(config.get("auth_type") or "password"),
            auth=dict(spec.overrides.get("auth") or {}),
            config=config | ({"interface": spec.interface} if spec.interface else {}),
        )
    return _from_files(spec, cloud or spec.cloud, other=cloud is not None)


def _from_files(spec: CloudSpec, cloud: str | None, *, other: bool) -> Credential:
    import keystoneauth1.exceptions as ksa
    from openstack import exceptions as sdk
    from openstack.config import loader

    looked_in = _config_files(loader.CONFIG_FILES, "OS_CLIENT_CONFIG_FILE")
    used = _check_yaml(looked_in)
    _check_yaml(_config_files(loader.SECURE_FILES, "OS_CLIENT_SECURE_FILE"))
    kwargs = {} if other else dict(spec.overrides)
    if spec.region:
        kwargs["region_name"] = spec.region
    if spec.interface:
        kwargs["interface"] = spec.interface
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openstacksdk's deprecations would be printed over the screen
            files = loader.OpenStackConfig()
            chosen = cloud or files.default_cloud
            _check_cloud(files, cloud, used, looked_in, spec)
            region = files.get_one(cloud=cloud, **kwargs)
    except ksa.NoMatchingPlugin as exc:
        raise SourceError(
            "unavailable", f"cloud '{plain(chosen)}' has an unknown auth_type: {plain(exc.name)}"
        ) from None
    except ksa.MissingRequiredOptions as exc:
        raise SourceError("unavailable", _missing(f"cloud '{plain(chosen)}'", exc)) from None
    except sdk.ConfigException as exc:
        raise SourceError("unavailable", f"clouds.yaml: {plain(exc, 300)}") from None
    except (ksa.ClientException, AttributeError, TypeError, ValueError, KeyError, IndexError) as exc:
        # openstacksdk expects the shapes its manual shows and checks none of them
        line = f"{used or 'the OS_* variables'}: cloud '{plain(chosen)}' cannot be used ({type(exc).__name__})"
        raise SourceError("unavailable", line) from None
    config = dict(region.config)
    return Credential(
        cloud=plain(region.name or ""),
        region=str(region.config.get("region_name") or ""),
        auth_type=str(config.get("auth_type") or "password"),
        auth=dict(config.get("auth") or {}),
        config=config | _tls(region),
    )


def _tls(region: Any) -> dict[str, Any]:
    verify, cert = region.get_requests_verify_args()
    return {"verify": verify, "cert": cert}


def _config_files(usual: list[str], variable: str) -> list[str]:
    first = os.environ.get(variable)
    return [*([first] if first else []), *usual]


def _check_yaml(files: list[str]) -> str | None:
    """The first file that is there, after seeing that it can be read: openstacksdk skips a broken one in silence."""
    import yaml

    for name in files:
        path = Path(name)
        if not path.exists():
            continue
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except PermissionError:
            continue
        except UnicodeDecodeError:
            raise SourceError("unavailable", f"{plain(name)} is not UTF-8 text") from None
        except OSError as exc:
            raise SourceError("unavailable", f"{plain(name)} cannot be read: {plain(exc.strerror)}") from None
        except yaml.MarkedYAMLError as exc:
            line = f", line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
            # the parser quotes what it stumbled over, which may be a password
            problem = re.sub(r"'[^']*'|\"[^\"]*\"", "…", exc.problem or "not YAML")
            raise SourceError("unavailable", f"{plain(name)}{line}: {plain(problem, 200)}") from None
        except (yaml.YAMLError, ValueError, RecursionError):
            raise SourceError("unavailable", f"{plain(name)} is not YAML") from None
        if not isinstance(data, dict) or not isinstance(data.get("clouds") or {}, dict):
            raise SourceError("unavailable", f"{plain(name)} has no mapping 'clouds' at its top")
        for cloud, body in (data.get("clouds") or {}).items():
            if not isinstance(body, dict) or not isinstance(body.get("auth") or {}, dict):
                raise SourceError("unavailable", f"{plain(name)}: cloud '{plain(cloud)}' is not a mapping with 'auth'")
        return plain(name)
    return None


def _check_cloud(files: Any, cloud: str | None, used: str | None, looked_in: list[str], spec: CloudSpec) -> None:
    """Say what there is when the cloud that is asked for is not there, or none is named and there are several."""
    names = sorted(plain(n) for n in files.get_cloud_names() if n != "defaults")
    there = f"there are: {', '.join(names)}" if names else "it names no cloud"
    wanted = cloud or os.environ.get("OS_CLOUD")
    if wanted and wanted not in files.get_cloud_names():
        if used is None:
            folders = dict.fromkeys(str(Path(f).parent) for f in looked_in)
            where = f"no clouds.yaml was found (looked in {plain(', '.join(folders))})"
            raise SourceError("unavailable", f"cloud '{plain(wanted)}' is not known: {where}")
        raise SourceError("unavailable", f"cloud '{plain(wanted)}' is not in {used}; {there}")
    if wanted or spec.overrides.get("auth"):
        return
    if not files.default_cloud:
        raise SourceError("unavailable", f"no cloud was chosen: use --os-cloud or OS_CLOUD; {there}")
    if not names:
        folders = dict.fromkeys(str(Path(f).parent) for f in looked_in)
        line = f"no clouds.yaml was found (looked in {plain(', '.join(folders))}) and OS_AUTH_URL is not set"
        raise SourceError("unavailable", line)
