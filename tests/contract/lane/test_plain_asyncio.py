"""On asyncio's own loop, without uvloop."""

from __future__ import annotations

import asyncio
import socket

from tests.contract.lane.client import many_connected
from tests.contract.lane.looking import the_lane_connection
from tests.support.gateway import running_gateway


def test_no_piece_of_an_answer_waits_for_the_receipt_of_the_one_before() -> None:
    async def look() -> int:
        async with running_gateway() as gateway, many_connected(gateway, 1):
            connection = await the_lane_connection(gateway)
            sock = connection._transport_now().get_extra_info("socket")
            return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(look()) == 1
