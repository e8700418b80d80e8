"""The distribution: what a wheel brings, and what the requirements pin."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from peer.base.installed_versions import OF_TORCH_EXTRA

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("crypto", "protocol", "strategy", "peer")
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""An environment in which only an installation tells Python where Pollen is."""


def output_of(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


of_a_wheel = pytest.mark.xdist_group("wheel")  # it is built and installed once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    output_of(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    (built,) = folder.glob("pollen_fl-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a fresh environment with the wheel, beside the libraries (not the checkout) of this one."""
    environment = tmp_path_factory.mktemp("installed")
    output_of(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    libraries = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site_packages / "libraries.pth").write_text("\n".join(libraries))
    uv, python = Path(sys.executable).with_name("uv"), environment / "bin" / "python"
    output_of(uv, "pip", "install", "--offline", "--no-deps", "--python", python, wheel, cwd=environment)
    return python.parent


@of_a_wheel
def test_a_wheel_adds_no_top_level_name_that_is_not_pollens(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {re.sub(r"^pollen_fl-.*\.dist-info$", "*.dist-info", name) for name in top} == {
        "_pollen",
        "pollen.pth",
        "*.dist-info",
    }


@of_a_wheel
def test_a_wheel_holds_every_file_of_the_built_in_app(wheel: Path) -> None:
    app = [path for path in (ROOT / "strategy" / "builtin").rglob("*") if path.suffix in {".py", ".toml"}]
    expected = {f"_pollen/{path.relative_to(ROOT).as_posix()}" for path in app}
    assert expected
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


@of_a_wheel
def test_a_wheel_holds_the_page_of_a_report(wheel: Path) -> None:
    shipped = zipfile.ZipFile(wheel).namelist()
    assert "_pollen/peer/report/page.html" in shipped
    for file in ("index.html", "app.js", "style.css", "uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"):
        assert f"_pollen/peer/web/static/{file}" in shipped


@of_a_wheel
@pytest.mark.parametrize("package", PACKAGES)
def test_an_installed_wheel_gives_each_package_its_plain_name(installed: Path, package: str) -> None:
    found = output_of(installed / "python", "-c", f"import {package}; print({package}.__file__)", cwd=installed)
    assert f"/site-packages/_pollen/{package}/" in found


@of_a_wheel
def test_an_installed_wheel_gives_the_peer_command(installed: Path) -> None:
    assert "Usage: peer" in output_of(installed / "peer", "--help", cwd=installed)


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = ("flwr", "torch", "torchvision", "numpy", "sklearn", "matplotlib", "jinja2")
    code = f"import sys, peer.cli.main; print([name for name in {heavy} if name in sys.modules])"
    assert output_of(sys.executable, "-c", code, cwd=ROOT) == "[]\n"


def test_every_module_is_imported_without_what_the_built_in_app_trains_with() -> None:
    """So whatever does not train works after ``pip install pollen-fl``."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not {"builtin", "templates"} & set(path.parts) and path.name not in {"__main__.py", "enter.py"}
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({OF_TORCH_EXTRA}))\nfor name in {modules}: __import__(name)"
    output_of(sys.executable, "-c", code, cwd=ROOT)


def test_what_is_said_names_no_file_that_only_a_checkout_has() -> None:
    """An installed wheel has no ``scripts``."""
    named = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "scripts/" in path.read_text()]
    assert not named


def pins(file: str) -> dict[str, set[str]]:
    """The versions that a requirements file pins, by name; several if they differ by platform."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / file).read_text(), re.M):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def wanted(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for: its dependencies, and those of the groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["torch"],
        *(each for group in groups for each in project["dependency-groups"][group]),
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(("file", "groups"), [("run.txt", ["build"]), ("dev.txt", ["build", "dev"])])
def test_the_pins_are_of_what_pyproject_asks_for(file: str, groups: list[str]) -> None:
    pinned = pins(file)
    stale = [
        str(requirement)
        for requirement in wanted(*groups)
        for version in pinned.get(canonicalize_name(requirement.name), {"nothing"})
        if version == "nothing" or not requirement.specifier.contains(version, prereleases=True)
    ]
    assert not stale, "scripts/lock has not been run since"


def test_the_tests_run_on_the_versions_that_people_run() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "requirements").glob("*.txt")))
def test_requirements_are_locked_by_hash_and_name_no_index(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text()
    unhashed = [line for line in re.findall(r"^\S.*", text, re.M) if not re.match(r"[\w.-]+==\S+( ;.*)? \\$", line)]
    assert not unhashed
    assert "://" not in text


def test_setup_without_a_new_enough_python_says_how_to_get_one(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dirname").symlink_to("/usr/bin/dirname")
    (programs / "python3").write_text("#!/bin/sh\necho Python 3.9.2\nexit 1\n")
    (programs / "python3").chmod(0o755)
    setup = tmp_path / "scripts" / "setup"
    setup.parent.mkdir()
    setup.write_text((ROOT / "scripts" / "setup").read_text())
    done = subprocess.run(
        ["/bin/bash", setup], env={"PATH": str(programs)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "python3 is Python 3.9.2" in done.stderr
    assert "fix:   install one" in done.stderr
