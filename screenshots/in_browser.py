"""Take the README's pictures of the dashboard: `python screenshots/in_browser.py`.

As `make.py`: a real gateway, a real model and real clients; and a real Chromium (`apt-get install
chromium`, and `fonts-inter` for the letters). The model is given a price, as electricity has one,
so that there is spend to see.
"""

from __future__ import annotations

import asyncio

from make import CONFIG, FOLDER, busy_gateway

from nexus_proxy.runtime import Runtime
from tests.support.browser import Connection, chromium, driven

SCENES = {
    "web-light": (1360, 1240, 1.0, "light"),
    "web-phone": (390, 844, 2.0, "dark"),
}
"""Name of a picture: width, height, pixels per CSS pixel, colours."""
MORE = """
[routing.budget]
monthly_limit_usd = 5

[[prices]]
model = "*"
input_usd_per_million = 20
output_usd_per_million = 400
"""


async def take(browser: Connection, runtime: Runtime, name: str) -> None:
    """Write `<name>.png`."""
    width, height, scale, scheme = SCENES[name]
    page = await browser.page()
    await page.resize(width, height, scale=scale)
    await page.prefer(color_scheme=scheme)
    await page.call("Emulation.setScrollbarsHidden", hidden=True)
    await page.open(runtime.endpoint)
    await page.until("document.querySelectorAll('.running').length > 1")
    await page.until("document.querySelector('.stroke') !== null")
    await asyncio.sleep(3)  # for the line of the last seconds to be seen
    await page.picture(FOLDER / f"{name}.png")
    print(f"took {name}")


async def main(address: str) -> None:
    async with busy_gateway(CONFIG + MORE) as runtime, driven(address) as browser:
        for name in SCENES:
            await take(browser, runtime, name)


if __name__ == "__main__":
    with chromium() as devtools:
        asyncio.run(main(devtools))
