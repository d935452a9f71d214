"""A Placement whose providers, allocations and answers a test changes, and a source that reads it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.sources.canned_cloud import Asked, CannedCloud, Reply
from vgpu_console.model.placement import PlacementFacts, ResourceProvider
from vgpu_console.sources.placement import PlacementSource

V = "/placement"


class CannedPlacement(CannedCloud):
    """Trees of a host with virtual functions, with Placement's own rules for generations.

    Writing a consumer's allocations moves the generation of the providers it then holds; deleting them, and dropping a
    provider from them, moves none (placement objects/allocation.py).
    """

    def __init__(self, hosts: int = 2, functions: int = 4) -> None:
        super().__init__()
        self.providers: dict[str, dict[str, Any]] = {}
        self.consumers: dict[str, tuple[str, dict[str, dict[str, int]]]] = {}
        self.full: set[str] = set()  # roots without a free mebibyte: in no allocation candidate
        for h in range(hosts):
            self.add(f"h{h}", None, {"MEMORY_MB": {"total": 1024, "allocation_ratio": 1.5}})
            for f in range(functions):
                self.add(f"h{h}-vf{f}", f"h{h}", {"VGPU": {"total": 1}})
        self.get(f"{V}/resource_providers", self._list)
        self.get(f"{V}/allocation_candidates", self._candidates)
        self.get(f"{V}/usages", self._usages)

    def add(self, uuid: str, root: str | None, inventories: dict[str, Any]) -> None:
        self.providers[uuid] = {"uuid": uuid, "name": f"{uuid}.example", "generation": 1, "parent_provider_uuid": root,
                                "root_provider_uuid": root or uuid}  # fmt: skip
        defaults = {"reserved": 0, "allocation_ratio": 1.0, "max_unit": 1}
        detail = {
            "inventories": {rc: defaults | inventory for rc, inventory in inventories.items()},
            "traits": ["OWNER_NOVA"],
        }
        self.providers[uuid]["_"] = detail
        for what in ("inventories", "traits"):
            self.get(f"{V}/resource_providers/{uuid}/{what}", Reply(200, detail))
        self.get(f"{V}/resource_providers/{uuid}/allocations", lambda _asked: Reply(200, self._held(uuid)))

    def remove(self, uuid: str) -> None:
        del self.providers[uuid]
        for what in ("inventories", "traits", "allocations"):
            del self.routes["GET", f"{V}/resource_providers/{uuid}/{what}"]

    def allocate(self, consumer: str, project: str, held: dict[str, dict[str, int]]) -> None:
        self.consumers[consumer] = (project, held)
        for uuid in held:
            self.providers[uuid]["generation"] += 1
        self.get(f"{V}/allocations/{consumer}", Reply(200, {"project_id": project}))

    def boot(self, consumer: str, project: str, function: str) -> None:
        self.allocate(consumer, project, {function: {"VGPU": 1}, function.split("-")[0]: {"MEMORY_MB": 1}})

    def delete(self, consumer: str) -> None:
        del self.consumers[consumer]

    def _held(self, uuid: str) -> dict[str, Any]:
        found = {c: {"resources": held[uuid]} for c, (_, held) in self.consumers.items() if uuid in held}
        return {"allocations": found, "resource_provider_generation": self.providers[uuid]["generation"]}

    def _used(self, uuid: str, resource_class: str) -> int:
        return sum(held.get(uuid, {}).get(resource_class, 0) for _, held in self.consumers.values())

    def _list(self, _asked: Asked) -> Reply:
        rows = [{k: v for k, v in p.items() if k != "_"} for p in self.providers.values()]
        return Reply(200, {"resource_providers": rows})

    def _candidates(self, asked: Asked) -> Reply:
        tree = asked.query.get("in_tree", [None])[0]
        summaries = {}
        for uuid, provider in self.providers.items():
            root = provider["root_provider_uuid"]
            if root in self.full or tree not in (None, root):
                continue
            resources = {}
            for resource_class, one in provider["_"]["inventories"].items():
                capacity = int((one["total"] - one["reserved"]) * one["allocation_ratio"])
                resources[resource_class] = {"capacity": capacity, "used": self._used(uuid, resource_class)}
            summaries[uuid] = {"resources": resources, "traits": provider["_"]["traits"]}
        return Reply(200, {"allocation_requests": [], "provider_summaries": summaries})

    def _usages(self, asked: Asked) -> Reply:
        total: dict[str, int] = defaultdict(int)
        for project, held in self.consumers.values():
            if project == asked.query["project_id"][0]:
                for resources in held.values():
                    for resource_class, amount in resources.items():
                        total[resource_class] += amount
        if asked.headers["openstack-api-version"].endswith(("1.38", "1.39")):
            return Reply(200, {"usages": {"unknown": {**total, "consumer_count": 1}}})
        return Reply(200, {"usages": total})


class Reader:
    """A source with the projects that Nova knows, fetched step by step."""

    def __init__(self, cloud: CannedPlacement) -> None:
        self.cloud = cloud
        self.known: dict[str, str] = {}
        self.source = PlacementSource(cloud.connection(), lambda: self.known)
        self.facts: PlacementFacts | None = None
        self.asked: list[str] = []

    def fetch(self) -> PlacementFacts:
        before = len(self.cloud.asked)
        self.facts = self.source.fetch(self.facts)
        self.asked = [p.removeprefix(V) for p in self.cloud.paths(before)]
        return self.facts

    def provider(self, uuid: str) -> ResourceProvider:
        assert self.facts is not None
        return next(p for p in self.facts.providers if p.uuid == uuid)

    def holders(self) -> dict[str, list[str]]:
        """Provider -> consumers, of those that are held."""
        assert self.facts is not None
        return {p.uuid: [a.consumer_id for a in p.allocations] for p in self.facts.providers if p.allocations}

    def truth(self) -> None:
        """What was read step by step is what a new reader sees."""
        fresh = Reader(self.cloud)
        fresh.known = self.known
        fresh.fetch()
        assert self.facts is not None
        assert fresh.facts is not None
        assert self.holders() == fresh.holders()
        assert self.facts.usages == fresh.facts.usages
        assert [(p.uuid, p.generation, p.traits) for p in self.facts.providers] == [
            (p.uuid, p.generation, p.traits) for p in fresh.facts.providers
        ]


def two_servers(cloud: CannedPlacement) -> Reader:
    """Two servers on two hosts, read once."""
    cloud.boot("s1", "p1", "h0-vf0")
    cloud.boot("s2", "p2", "h1-vf3")
    reader = Reader(cloud)
    reader.known = {"s1": "p1", "s2": "p2"}
    reader.fetch()
    return reader
