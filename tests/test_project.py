"""The project as a whole: light imports, one story in the README, pins that cover what is asked for."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from ragtune_lib.runfile import read_run_file, stage_parameters
from ragtune_lib.store import ROOT

LIBRARY = ROOT / "ragtune_lib"
FILES = sorted(path for path in LIBRARY.rglob("*.py") if path.stem != "__init__")
MODULES = [".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in FILES]
ROOMS = sorted(path.parent for path in LIBRARY.glob("*/__init__.py"))
RUN_FILES = sorted((ROOT / "notebooks" / "runs").glob("*.yaml"))
HEAVY = ("torch", "transformers", "trl", "peft", "unsloth", "sentence_transformers", "datasets", "plotly", "papermill")


def names(requirements):
    """Normalised project names of requirement lines (PEP 503)."""
    found = [re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in requirements]
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def pins(file):
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("module", ["ragtune_lib", *(f"ragtune_lib.{name}" for name in MODULES)])
def test_importing_a_module_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=MODULES)
def test_a_module_can_be_read_in_one_sitting(file):
    assert len(file.read_text().splitlines()) <= 400


def test_the_readme_names_every_module_and_notebook():
    readme = (ROOT / "README.md").read_text()
    notebooks = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
    missing = [name for name in [*(file.name for file in FILES), *notebooks] if name not in readme]
    assert not missing


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_lists_its_modules(room):
    listed = re.findall(r"^- `(\w+)`: ", (room / "__init__.py").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__")


def test_every_room_is_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert packages == ["ragtune_lib", *(f"ragtune_lib.{room.name}" for room in ROOMS)]


def test_the_readme_names_every_make_target():
    readme = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"report", "test", "lab", "bench", "clean"} <= set(targets)
    assert not [target for target in targets if f"make {target}" not in readme]


def test_the_lock_pins_everything_that_is_asked_for_and_nothing_else(project):
    locked, without_deps = pins("requirements.txt"), pins("requirements-nodeps.txt")
    for line in [*locked, *without_deps]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line  # no path, host or local build
    asked = names(project["dependencies"] + project["optional-dependencies"]["test"]) | {"torch"}
    assert asked <= names(locked)
    assert names(project["optional-dependencies"]["unsloth"]) <= names(without_deps)
    assert not names(locked) & names(without_deps)


def test_the_conda_environment_agrees_with_the_lock(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "python=3.11" in environment["dependencies"]
    assert "--editable ." in pip
    asked = names(project["dependencies"]) | {"torch", "unsloth", "unsloth-zoo", "jupyterlab"}
    assert asked <= names(pip)
    locked = set(pins("requirements.txt") + pins("requirements-nodeps.txt"))
    assert set(pip) - {"--editable ."} <= locked


@pytest.mark.parametrize("path", RUN_FILES, ids=lambda path: path.stem)
def test_the_parameters_of_a_run_file_exist(path):
    run = read_run_file(path)
    ours = run.documents.startswith("data/")  # all other folders are the user's
    assert (ROOT / run.documents).is_dir() or not ours
    assert ours or run.documents.startswith("corpora/")  # which git leaves alone
    assert not run.questions or (ROOT / run.questions).is_file()
    stage_parameters(run)


def test_the_run_files_of_the_paper_are_there_and_name_models_with_a_price():
    for name in ("news", "podcast", "journaling"):
        run = read_run_file(ROOT / "notebooks" / "runs" / f"{name}.yaml")
        assert run.run == name
        assert run.budget > 0  # refused for a model without a price
        tuning = stage_parameters(run)["05_finetune"]
        assert {key: tuning[key] for key in ("rank", "alpha", "learning_rate", "epochs", "trained_layers")} == {
            "rank": 16, "alpha": 32, "learning_rate": 2e-4, "epochs": 3.0, "trained_layers": 1.0
        }  # fmt: skip
        assert stage_parameters(run)["01_documents"]["student"] == "Qwen/Qwen2.5-7B-Instruct"


def test_ci_runs_what_the_readme_calls_the_tests():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith("make")] == ["make test"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()
