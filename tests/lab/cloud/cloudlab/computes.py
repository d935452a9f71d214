"""The lab's nova-compute services: each the real manager and driver, started and stopped by host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nova import context, service
from nova.compute import rpcapi

from cloudlab.per_host import as_host


class Computes:
    """The running nova-compute services, by host."""

    def __init__(self) -> None:
        self._running: dict[str, Any] = {}

    def is_up(self, host: str) -> bool:
        """Whether the host's nova-compute runs."""
        return host in self._running

    def start_all(self, hosts: list[str], at_a_time: int = 4) -> None:
        """Start them side by side; raises what the first failure raises."""
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(self.start, hosts))

    def start(self, host: str) -> None:
        """Start a host's nova-compute; it registers its service and its inventories. Raises ValueError when it runs."""
        if host in self._running:
            raise ValueError(f"{host} runs already")

        def begin() -> Any:
            made = service.Service.create(
                host=host, binary="nova-compute", topic=rpcapi.RPC_TOPIC, topic_alt=rpcapi.RPC_TOPIC_ALT
            )
            made.start()
            return made

        self._running[host] = as_host(host, begin)

    def stop(self, host: str) -> None:
        """No more heartbeats and no more answers, as if the host died. Raises ValueError when it does not run."""
        if host not in self._running:
            raise ValueError(f"{host} does not run")
        self._running.pop(host).stop()

    def update(self, host: str) -> None:
        """Run the periodic report of resources now."""
        if host not in self._running:
            raise ValueError(f"{host} does not run")
        manager = self._running[host].manager
        as_host(host, lambda: manager.update_available_resource(context.get_admin_context()))
