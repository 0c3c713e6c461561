"""What was acknowledged survives kill -9: another process listens, is killed after each answer, and starts again."""

import signal
import subprocess
import sys
from pathlib import Path

from plugins.police.tests.door import ALERT

from xinqiao.adapters.spool import Spool
from xinqiao.contract.clock import ManualClock, SystemClock, from_us
from xinqiao_police.simulator import Centre110

_SERVE = """
import sys
from pathlib import Path
from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.config import Secret
from xinqiao_police.adapter import PoliceAdapter
from xinqiao_police.settings import PoliceSettings, listens
secret = Secret("file", sys.argv[2])
settings = PoliceSettings(
    url="http://127.0.0.1:9/", sign_with=(secret,), verify_with=(secret,), receiver={"listen": "127.0.0.1:0"}
)
adapter = PoliceAdapter(settings, AgencyContext("p", {}, "t", HttpTransport([]), Path(sys.argv[1]), Listening(listens(settings))))
adapter.listen()
print(adapter.address[1], flush=True)
sys.stdin.read()
"""


def test_what_was_acknowledged_survives_kill_9_and_is_known_again(tmp_path: Path) -> None:
    clock = ManualClock(from_us(SystemClock().now_us()))  # stands still, so that a repeat is the same bytes
    centre, folder = Centre110(tmp_path / "centre", clock=clock), tmp_path / "gateway"
    folder.mkdir()
    secret = str(tmp_path / "centre" / "centre.secret")
    words = []
    for number in (0, 1, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(folder), secret],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process:
            centre.connect(("127.0.0.1", int(process.stdout.readline())))
            answer = centre.say("alert.created", {"alert": f"J-{number}", **ALERT}, webhook_id=f"msg_{number}")
            words.append((answer.status, answer.reason))
            process.send_signal(signal.SIGKILL)
    centre.stop()
    assert words == [(202, ""), (202, ""), (200, "")]
    kept = Spool(folder / "inbox").pending()
    assert [f"J-{number}".encode() in item.data for number, item in enumerate(kept)] == [True, True]
