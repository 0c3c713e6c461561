"""The other end made by other people: hl7.mllp (asyncio) and hl7apy's MLLPServer."""

import asyncio
import threading
from types import ModuleType

import hl7
import hl7.mllp
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message


def test_hl7_mllp_takes_a_referral_and_its_ack_is_understood(agency_for, request_) -> None:
    loop = asyncio.new_event_loop()
    connected = loop.create_future()
    server = loop.run_until_complete(
        hl7.mllp.start_hl7_server(
            lambda reader, writer: connected.set_result((reader, writer)), host="127.0.0.1", port=0, encoding="gb18030"
        )
    )
    seen: list[hl7.Message] = []

    def serve() -> None:
        reader, writer = loop.run_until_complete(connected)
        seen.append(loop.run_until_complete(reader.readmessage()))
        writer.writemessage(seen[0].create_ack())
        loop.run_until_complete(writer.drain())
        writer.close()
        loop.run_until_complete(writer.wait_closed())
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()

    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=serve)
    thread.start()
    started = {"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": port, "charset": "GB18030"}}
    assert agency_for(started).deliver(request_, 10).receipt.startswith("MSH-10/")
    thread.join()
    assert str(seen[0].segment("PID")[5][0][0]) == "欧阳"


def test_hl7_mllp_tells_the_gateway_and_reads_its_ack(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()
    loop = asyncio.new_event_loop()
    reader, writer = loop.run_until_complete(hl7.mllp.open_hl7_connection("127.0.0.1", adapter.port, encoding="utf-8"))
    writer.writemessage(hl7.parse(hl.rri("R^Rejected^HL70283", "NTE|1||床位已满")))
    loop.run_until_complete(writer.drain())
    answer = loop.run_until_complete(reader.readmessage())
    writer.close()
    loop.run_until_complete(writer.wait_closed())
    loop.close()
    assert [str(answer.segment("MSA")[n]) for n in (1, 2)] == ["AA", "M1"]
    assert hl.items(adapter)[0].referral.reason == "床位已满"


def test_hl7apy_s_server_takes_a_referral(agency_for, request_) -> None:
    class Handler(AbstractHandler):
        def reply(self) -> str:
            message = parse_message(self.incoming_message)
            control = message.msh.msh_10.to_er7()
            return f"\x0bMSH|^~\\&|HIS|HOSPITAL|||20261006||ACK^I12|A1|P|2.5.1\rMSA|AA|{control}\r\x1c\r"

    server = MLLPServer("127.0.0.1", 0, {"REF^I12^REF_I12": (Handler,)})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        port = server.server_address[1]
        started = {"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": port}}
        assert agency_for(started).deliver(request_, 10).receipt.startswith("MSH-10/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
