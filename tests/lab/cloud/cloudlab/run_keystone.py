"""Keystone: its tables, keys and first user, then its API under waitress.

The making happens in a child process, because Keystone can be configured once per process; the child shares what was
imported, so that it costs no second start.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import keystone.conf
import waitress
from keystone.cmd import bootstrap
from keystone.common import fernet_utils, sql
from keystone.common.sql import upgrades
from keystone.credential.providers import fernet as credential_fernet
from keystone.server import wsgi
from oslo_log import log

from cloudlab.faults import Faults, behind_faults
from cloudlab.settings import PASSWORD, REGION, Settings, load
from cloudlab.sqlite_writers import serialise_writers

CONF = keystone.conf.CONF


def main(settings: Settings) -> int:
    """Set up, serve until the process is ended; 1 when the setting up failed."""
    child = os.fork()
    if not child:
        os._exit(_set_up(settings))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        return 1
    serialise_writers()
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(settings.path("keystone"))
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = "keystone.conf"
    sys.argv = sys.argv[:1]  # the application would read the command line
    app = behind_faults(_with_token_life(wsgi.initialize_public_application(), settings), "identity", settings)
    waitress.serve(app, host=settings.address, port=settings.keystone_port, threads=16, ident=None)
    return 0


def _set_up(settings: Settings) -> int:
    """What keystone-manage's db_sync, fernet_setup, credential_setup and bootstrap do."""
    try:
        log.register_options(CONF)
        keystone.conf.configure()
        sql.initialize()
        CONF(args=["--config-file", str(settings.path("keystone/keystone.conf"))], project="keystone")
        keystone.conf.setup_logging()
        upgrades.offline_sync_database_to_version()
        _make_keys(CONF.fernet_tokens.key_repository, CONF.fernet_tokens.max_active_keys, "fernet_tokens")
        _make_keys(CONF.credential.key_repository, credential_fernet.MAX_ACTIVE_KEYS, "credential")
        first = bootstrap.Bootstrapper()
        first.admin_username, first.admin_password = "admin", PASSWORD
        first.project_name = first.admin_role_name = "admin"
        first.service_name, first.region_id = "keystone", REGION
        first.public_url = first.internal_url = first.admin_url = settings.keystone_url
        first.bootstrap()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _make_keys(repository: str, count: int, group: str) -> None:
    keys = fernet_utils.FernetUtils(repository, count, group)
    keys.create_key_directory()
    if keys.validate_key_repository(requires_write=True):
        keys.initialize_key_repository()


def _with_token_life(app: Any, settings: Settings) -> Any:
    """The ``tokens`` knob: how long the tokens live that are given out from now on."""
    faults = Faults(settings)

    def timed(environ: dict[str, Any], start_response: Any) -> Any:
        seconds = int(faults.of("tokens").get("seconds", settings.token_seconds))
        if CONF.token.expiration != seconds:
            CONF.set_override("expiration", seconds, "token")
        return app(environ, start_response)

    return timed


sys.exit(main(load(sys.argv[1])))
