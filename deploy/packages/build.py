"""`make deb`: the packages of this checkout under build/, or those that are named."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.packages.client_package import CLIENT  # noqa: E402  the path comes first
from deploy.packages.debian import build  # noqa: E402
from deploy.packages.manager_package import MANAGER  # noqa: E402
from deploy.packages.node_package import NODE  # noqa: E402

PACKAGES = {package.name: package for package in (MANAGER, NODE, CLIENT)}

if __name__ == "__main__":
    names, target = sys.argv[1].split(",") if sys.argv[1:] else list(PACKAGES), ROOT / "build"
    for name in names:
        print(build(PACKAGES[name], target if not sys.argv[2:] else Path(sys.argv[2])))
