"""The parts of the README that are made from the code: run ``python -m tests.docs.readme`` to bring them up to date."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
README = TREE / "README.md"
PICTURES = TREE / "assets" / "pictures"
SIZE = (120, 36)


def with_part(text: str, name: str, body: str) -> str:
    """The text with what stands between the markers of a part replaced. Raises ValueError when there are none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md has no part {name}")
    return pattern.sub(lambda _: f"{begin}\n{body.strip()}\n{end}", text)


def with_keys(text: str) -> str:
    """The text with the table of keys as the screens bind them."""
    from vgpu_console.screens.keys import markdown_table

    return with_part(text, "keys", markdown_table())


def draw() -> None:
    """The dashboard, a host and the quota screen on the embedded cloud, as SVG pictures."""
    from vgpu_console.app import VgpuConsoleApp
    from vgpu_console.config import DemoChoice, Settings
    from vgpu_console.runtime import open_engine
    from vgpu_console.screens.export import picture_of

    async def run() -> None:
        app = VgpuConsoleApp(lambda: open_engine(Settings(), DemoChoice()), settings=Settings(theme="dark"))
        async with app.run_test(size=SIZE, notifications=True) as pilot:
            for _ in range(400):
                await pilot.pause(0.02)
                if app.snapshot is not None and len(app.snapshot.sources) > 10:
                    break
            await pilot.pause(2.0)
            for name, keys in (("dashboard", ()), ("host", ("enter",)), ("quota", ("escape", "3"))):
                await pilot.press(*keys)
                await pilot.pause(0.5)
                (PICTURES / f"{name}.svg").write_text(picture_of(app).svg, encoding="utf-8")

    PICTURES.mkdir(parents=True, exist_ok=True)
    asyncio.run(run())


def main(arguments: list[str]) -> None:
    """Write the README's parts; with ``pictures`` draw the pictures too."""
    README.write_text(with_keys(README.read_text(encoding="utf-8")), encoding="utf-8")
    if "pictures" in arguments:
        draw()


if __name__ == "__main__":
    main(sys.argv[1:])
