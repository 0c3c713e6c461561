"""A gateway in a process of its own, to be killed: argument 1 is its configuration; writes its port beside it."""

import logging
import sys
import threading
from pathlib import Path

from xinqiao.adapters.host import AdapterHost
from xinqiao.server.runtime import Gateway

logging.basicConfig(level=logging.WARNING)
config = Path(sys.argv[1])
gateway = Gateway(config, host=AdapterHost.load(["hospital"]))
gateway.start(tick=True)
waiting = config.with_name("port.tmp")
waiting.write_text(str(gateway.port))
waiting.rename(config.with_name("port"))
threading.Event().wait()
