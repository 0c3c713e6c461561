"""One server process of the measurements: ``serve.py gateway|district|echo FOLDER``. Prints its port; ends with its stdin."""

import asyncio
import cProfile
import os
import sys
import threading
from pathlib import Path
from typing import Any


def _gateway(folder: Path, kinds: tuple[str, ...] | None = ()) -> None:
    from xinqiao.adapters.host import AdapterHost
    from xinqiao.cli.serving import tune_interpreter
    from xinqiao.server.runtime import Gateway

    gateway = Gateway(folder / "gateway.yaml", host=AdapterHost.load(kinds))
    gateway.start()
    tune_interpreter()
    print(gateway.port, flush=True)
    sys.stdin.read()
    gateway.stop()


def _district(folder: Path) -> None:
    """The gateway with every plugin that is installed."""
    _gateway(folder, None)


def _echo(folder: Path) -> None:
    """The bare edge: the same server options, TLS, loop and kind of handler, and nothing behind them."""
    import grpc
    import uvloop

    from xinqiao.server.edge import Limits, make_server

    async def answer(data: bytes, _context: Any) -> bytes:
        return data

    handler: Any = grpc.unary_unary_rpc_method_handler(answer)

    class Echo(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            return handler

    pki = folder / "pki"
    credentials = grpc.ssl_server_credentials(
        [((pki / "gateway.key").read_bytes(), (pki / "gateway.pem").read_bytes())],
        root_certificates=(pki / "ca.pem").read_bytes(),
        require_client_auth=True,
    )

    async def serve() -> None:
        server = make_server(Limits())
        server.add_generic_rpc_handlers((Echo(),))
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await server.stop(0)

    loop = uvloop.new_event_loop()
    loop.run_until_complete(serve())


def _profiled(work: Any, folder: Path) -> None:
    """With BENCH_PROFILE=<prefix>: one cProfile file a thread, to be read with ``python -m pstats``."""
    prefix = os.environ["BENCH_PROFILE"]
    run = threading.Thread.run

    def profiled_run(thread: threading.Thread) -> None:
        profile = cProfile.Profile()
        try:
            profile.runcall(run, thread)
        finally:
            profile.dump_stats(f"{prefix}.{thread.name.replace('/', '-')}.prof")

    threading.Thread.run = profiled_run  # type: ignore[method-assign, assignment]
    work(folder)


if __name__ == "__main__":
    start = {"gateway": _gateway, "district": _district, "echo": _echo}[sys.argv[1]]
    if os.environ.get("BENCH_PROFILE") and sys.argv[1] == "gateway":
        _profiled(start, Path(sys.argv[2]))
    else:
        start(Path(sys.argv[2]))
