"""What is handed to others: the wheel, the source distribution, the pins, the hooks and the workflows."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def ran(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command says; it must succeed."""
    environment = {"PYTHONDONTWRITEBYTECODE": "", **environment}  # where it is set, the builder warns of it
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- the wheel and the source distribution


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what would be packed, so that the build leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("checkout") / "minisd"
    ignored = shutil.ignore_patterns(
        ".*", "*.egg-info", "__pycache__", "build", "dist", "runs", "out", "site"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def built(checkout):
    """The source distribution, the wheel that is built from it, and what the builder said."""
    pytest.importorskip("setuptools", "77")
    build = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    said = ran(sys.executable, "-c", build, "build_sdist", "dist", cwd=checkout)
    archive = next((checkout / "dist").glob("*.tar.gz"))
    with tarfile.open(archive) as opened:
        opened.extractall(checkout / "unpacked", filter="data")
    source = next((checkout / "unpacked").iterdir())
    said += ran(sys.executable, "-c", build, "build_wheel", "dist", cwd=source)
    return archive, next((source / "dist").glob("*.whl")), said


def test_the_wheel_holds_every_file_of_the_package(built):
    """Built from the source distribution, which therefore holds them, too."""
    with zipfile.ZipFile(built[1]) as wheel:
        inside = {name for name in wheel.namelist() if name.startswith("minisd/")}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minisd").rglob("*") if path.is_file()}
    assert inside == {name for name in files if "__pycache__" not in name}
    assert "minisd/py.typed" in inside


def test_the_builder_warns_of_nothing(built):
    lines = [line for line in built[2].splitlines() if re.search(r"warning|deprecated|absent", line, re.I)]
    assert not lines


def test_the_source_distribution_holds_what_its_tests_read(built):
    with tarfile.open(built[0]) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    assert {"constraints.txt", "Makefile", "book.toml", "tests/conftest.py", "LICENSE"} <= names
    assert {f"solutions/{path.name}" for path in (ROOT / "solutions").glob("*.ipynb")} <= names


def test_an_installed_wheel_paints_far_from_the_checkout(built, tmp_path):
    """In an environment of its own, in which only the libraries that minisd uses are those of here."""
    ran(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    folder = {"base": str(tmp_path / "venv")}
    scripts, own = (Path(sysconfig.get_path(name, "venv", folder)) for name in ("scripts", "purelib"))
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "--disable-pip-version-check"]
    ran(*pip, "install", "--no-deps", "--no-index", built[1], cwd=tmp_path)
    # Not a .pth file: it would bring the checkout, too, if minisd is installed here for development.
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    there = {"PYTHONPATH": os.pathsep.join([str(own), *libraries])}
    home = ran(scripts / "python", "-c", "import minisd; print(minisd.__file__)", cwd=tmp_path, **there)
    assert Path(home.strip()).is_relative_to(own)
    command = scripts / "minisd"
    assert PROJECT["project"]["version"] in ran(command, "--version", cwd=tmp_path, **there)
    picture = tmp_path / "house.png"
    ran(command, "paint", "a red house", "--steps", "1", "--out", picture, cwd=tmp_path, **there)
    assert picture.stat().st_size > 1000


# ---- pins, hooks, workflows


def names_of(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", line.replace("_", "-"))[0].lower() for line in requirements}


def test_every_requirement_is_pinned_once_in_constraints():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = [line.split("==")[0] for line in text.splitlines() if line and not line.startswith("#")]
    assert len(pins) == len(set(pins))
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = names_of(PROJECT["project"]["dependencies"]).union(*map(names_of, extras))
    assert asked - set(pins) == set()


def test_the_version_stands_in_one_place_or_agrees():
    import minisd

    assert minisd.__version__ == PROJECT["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {minisd.__version__}" in changes


def test_the_hooks_are_the_commands_of_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1]
    assert hooks == [line.strip().removeprefix("$(BIN)/") for line in recipe.splitlines()]
    assert all(repo["repo"] == "local" for repo in config["repos"]), "a hook would be downloaded"


def commands(workflow: dict) -> list[str]:
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines() if line]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_what_a_reader_calls(path):
    """make's targets, or else the README's own commands."""
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("pip install", "python -m pip install")
    for command in commands(yaml.safe_load(path.read_text(encoding="utf-8"))):
        if command.startswith("make "):
            assert command.split()[1] in targets, command
        else:
            assert command in readme, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_pinned_actions_and_no_secrets(path):
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


def test_the_workflows_know_every_system_and_every_python():
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["test"]
    matrix = matrix["strategy"]["matrix"]
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"][0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]


# ---- what the pages promise


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_a_page_names_exists(name):
    named = re.findall(r"(test_\w+\.py)::(test_\w+)", (ROOT / name).read_text(encoding="utf-8"))
    assert named
    for file, test in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", source, re.M), f"{file} has no {test}"


def test_every_file_and_name_in_contributing_exists():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/*") if path.is_file()]
    sources = MAKEFILE + "".join(
        (ROOT / name).read_text(encoding="utf-8") for name in files if name[-3:] == ".py"
    )
    to_be_written = {"heun"}
    quoted = set(re.findall(r"`([^`\s]+)`", page)) - to_be_written
    for path in (text for text in quoted if re.fullmatch(r"[\w/.]+\.(py|md|toml)", text)):
        pattern = re.sub("NN(_slug)?", "00.*", path)
        assert (ROOT / path).is_file() or any(re.search(f"(^|/){pattern}$", name) for name in files), path
    for name in (text.split(".")[-1] for text in quoted if re.fullmatch(r"[A-Za-z_.]+", text)):
        assert re.search(rf"\b{name}\b", sources), name
