"""The generated messages are reached without running TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPORT = """
import json, psutil, sys
import control_plane.serving
from control_plane.serving import client, saved_model, stubs, warmup, wire
stubs.PredictRequest().inputs["x"].dtype = stubs.DataType.Value("DT_FLOAT")
files = [str(path) for path in stubs.module_files()]
resident = psutil.Process().memory_info().rss / 2**20
print(json.dumps({"modules": sorted(sys.modules), "files": files, "resident_mib": resident}))
"""


def run(code: str, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), path])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_serving_layer_leaves_the_runtime_unimported() -> None:
    report = json.loads(run(REPORT))
    runtime = [
        name
        for name in report["modules"]
        if name == "tensorflow" or name.startswith("tensorflow.python") or "pywrap" in name
    ]
    assert runtime == []
    assert "numpy" not in report["modules"]
    assert report["resident_mib"] < 80


def test_the_listed_files_are_all_that_is_needed(tmp_path: Path) -> None:
    site = tmp_path / "site"
    report = json.loads(run(REPORT))
    for file in map(Path, report["files"]):
        parts = file.parts
        inside = Path(*parts[parts.index("site-packages") + 1 :])
        (site / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, site / inside)
    assert not (site / "tensorflow/__init__.py").exists()
    others = Path(report["files"][0].partition("site-packages")[0]) / "site-packages"
    for entry in others.iterdir():
        if not entry.name.startswith("tensorflow"):
            (site / entry.name).symlink_to(entry)
    alone = f"import sys; sys.path[:] = [p for p in sys.path if p != {str(others)!r}]\n{REPORT}"
    found = json.loads(run(alone, str(site)))
    assert all(file.startswith(str(site)) for file in found["files"])


def test_the_runtime_may_be_imported_beside_it() -> None:
    code = (
        "from control_plane.serving import stubs\n"
        "import tensorflow as tf\n"
        "made = tf.make_tensor_proto([1.0])\n"
        "print(type(made) is stubs.TensorProto)"
    )
    assert run(code) == "True"
    first = "import tensorflow\n" + code
    assert run(first) == "True"
