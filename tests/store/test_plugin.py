"""The pytest plugin costs its users nothing until they ask for a store."""

import subprocess
import sys


def test_importing_the_plugin_imports_no_heavy_package() -> None:
    program = (
        "import sys, xinqiao.testing.pytest_plugin;"
        "print([name for name in ('sqlalchemy', 'grpc', 'alembic', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
