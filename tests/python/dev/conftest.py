"""What the tests of set-up and tooling share."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.project import BIN, PROJECT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The working tree's files, and a .venv to which make venv has to add only the project itself."""
    project = tmp_path / "copymart"
    listed = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, text=True, capture_output=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (PROJECT / name).exists():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, project / name)
    venv = project / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    # A path in a .pth is one that pip reads but never writes to, and whose own .pth files are not followed.
    packages = venv / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    program = (BIN / "dbt").read_text().split("\n", 1)[1]
    (venv / "bin/dbt").write_text(f"#!{venv}/bin/python\n{program}")
    (venv / "bin/dbt").chmod(0o755)
    return project
