"""What the documents name is there: files, folders, headings, sections, commands with their options, and the functions
of the journeys in architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import click
import pytest

from peer.cli.main import Commands

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("crypto", "protocol", "strategy", "peer")
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "tests").glob("*.md"),
        *(ROOT / package / "README.md" for package in PACKAGES if (ROOT / package / "README.md").exists()),
    ]
)
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
NOT_OURS = {
    "crypto.py",  # modules that an app may have
    "strategy.py",
    "models.py",
    "_state.py",  # of libraries to learn from
    "_connection.py",
    "trusted_metadata_set.py",
    "_boss.py",
    "_awaited_replies.py",
    ".aws/credentials.json",  # what Flower takes of an app's folder
    ".vscode/tasks.json",
    "cmd/ipfs/kubo/daemon.go",  # Kubo's source
    "core/corehttp/commands.go",
}
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*\.(?:py|md|json|toml|go)|(?:[\w.-]+/)+[\w.-]*\.(?:py|md|json)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(document: Path) -> str:
    """The document without its blocks of commands, which name files of the reader's."""
    return re.sub(r"(?m)^(?: {4,}|```[\s\S]*?^```).*$", "", document.read_text("utf-8"))


def paths(document: Path) -> set[str]:
    named = {code.strip("/") for code in _CODE.findall(prose(document)) if _PATH.fullmatch(code)}
    return {path for path in named if "/" in path or path.endswith(".py")} - NOT_OURS


def starts(document: Path) -> list[Path]:
    """From where a document names files: the project, its tests, and its own folder or package."""
    folder = document.parent
    return [ROOT, ROOT / "tests", folder, folder / "builtin" / "pollen_app"]


def is_there(path: str, document: Path) -> bool:
    """The name of a test file is enough: each exists once."""
    if path.startswith("test_") and "/" not in path:
        return any((ROOT / "tests").rglob(path))
    return any(next(start.glob(path), None) for start in starts(document))


def anchors(document: Path) -> set[str]:
    """The headings as GitHub links them."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    assert not [path for path in paths(document) if not is_there(path, document)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(document)):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if ":" not in link and not (target.exists() and (target.suffix != ".md" or {anchor} <= {"", *anchors(target)})):
            broken.append(link)
    assert not broken


@cache
def command_of(*path: str) -> click.Command | None:
    """The command after ``peer``, such as ``keys``, ``init``."""
    if not path:
        return Commands()
    group = command_of(*path[:-1])
    return group.get_command(click.Context(group), path[-1]) if isinstance(group, click.Group) else None


def typed_commands(text: str) -> Iterator[list[str]]:
    """What stands after ``peer`` where a document tells people to type it."""
    for line in [
        *re.findall(r"(?m)^ {4,}(?:sudo )?peer (.+)$", text),
        *re.findall(r"`(?:sudo )?peer ([^`\n]+)`", text),
    ]:
        yield re.split(r"\s{2,}|\s#|[|<>;]", line)[0].split()


def is_understood(words: list[str]) -> bool:
    """Whether there is such a command, and it has these options."""
    path: tuple[str, ...] = ()
    while isinstance(command_of(*path), click.Group) and words and re.fullmatch("[a-z][a-z-]*", words[0]):
        path, words = (*path, words[0]), words[1:]
    if (command := command_of(*path)) is None:
        return False
    known = {"--help", "-v", *(name for each in command.params for name in [*each.opts, *each.secondary_opts])}
    options = takewhile(lambda word: word != "--", words)
    return all(word.partition("=")[0] in known for word in options if re.match("--?[a-z]", word))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_command_that_a_document_names_is_there_with_its_options(document: Path) -> None:
    typed = [words for words in typed_commands(document.read_text("utf-8")) if words[:1] != ["process"]]  # a drawing
    assert not [" ".join(words) for words in typed if not is_understood(words)]


@pytest.mark.parametrize("words", ["keys begin", "start --role client --lenght 3", "show --replay CID"])
def test_a_command_or_an_option_that_is_none_is_found(words: str) -> None:
    assert not is_understood(words.split())


def test_every_folder_of_a_package_is_in_the_architecture() -> None:
    section = (
        (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\n## Folders\n")[2].partition("\n## ")[0]
    )
    named = set(_CODE.findall(section))
    folders = {file.parent.relative_to(ROOT) for file in SOURCES if file.parent.parent != ROOT}
    apps = {folder for folder in folders if folder.parts[1] in ("builtin", "templates")}  # Flower apps, whole
    assert not {str(each) for each in folders - apps if not {f"{each}/", f"{each.name}/"} & named}


@pytest.mark.parametrize("package", ["peer", "protocol"])
def test_the_page_of_a_package_says_where_to_begin_in_each_of_its_folders(package: str) -> None:
    named = set(_CODE.findall((ROOT / package / "README.md").read_text("utf-8")))
    folders = {file.relative_to(ROOT / package).parts[0] for file in (ROOT / package).glob("*/__init__.py")}
    assert {f"{folder}/" for folder in folders} <= named


def test_every_section_that_the_code_names_is_in_the_specification() -> None:
    text = "\n".join(file.read_text("utf-8") for file in [*SOURCES, *DOCUMENTS])
    named = set(re.findall(r"docs/protocol\.md`?, section (\d+)|section (\d+) of `docs/protocol\.md`", text))
    there = set(re.findall(r"(?m)^## (\d+)\.", (ROOT / "docs" / "protocol.md").read_text("utf-8")))
    assert named
    assert {one or other for one, other in named} <= there


def test_the_glossary_is_in_order_and_has_each_word_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\n## Words\n")[2].partition("\n## ")[0]
    words = [line.split(" | ")[0].strip("| ").lower() for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(words) > 50
    assert words == sorted(set(words))


def test_no_folder_of_a_package_has_more_modules_than_a_reader_keeps_in_mind() -> None:
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    crowded = {str(folder): n for folder in folders if (n := len(list(folder.glob("[!_]*.py")))) > 15}
    assert not crowded


def defined_in(source: Path) -> set[str]:
    """The functions, classes, methods, and names assigned in a module: `f`, `Class`, `Class.method`, `NAME`."""
    names: set[str] = set()

    def visit(body: list[ast.stmt], within: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names.add(within + name)
                case ast.ClassDef(name=name, body=inner):
                    names.add(within + name)
                    visit(inner, f"{within}{name}.")
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(within + name)

    visit(ast.parse(source.read_text("utf-8")).body, "")
    return names


def undefined(text: str) -> list[str]:
    """The names of a journey that its files do not define: a name belongs to the path before it, on the same line."""
    wrong = []
    for line in text.splitlines():
        source = None
        for code in _CODE.findall(line):
            if code.endswith(".py"):
                source = ROOT / code
            elif source and code not in defined_in(source):
                wrong.append(f"{code} in {source.relative_to(ROOT)}")
    return wrong


def test_the_journeys_name_what_their_files_define() -> None:
    journeys = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\n## Journeys\n")[2]
    steps = [line for line in journeys.splitlines() if line.startswith("|") and ".py` " in line]
    assert len(steps) > 40
    assert undefined("\n".join(step.split(" | ")[1] for step in steps)) == []


def test_a_name_that_a_file_does_not_define_is_found() -> None:
    assert undefined("`protocol/chain/chain.py` `Chain.append` `Chain.guess`") == [
        "Chain.guess in protocol/chain/chain.py"
    ]
