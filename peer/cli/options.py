"""The options that several commands share. Their names, defaults and meanings are the same everywhere.

Options that go together are a group, which is a dataclass. A `grouped` command takes the group as one parameter, and
the command line has each of its options.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

import click
import typer
from click.core import ParameterSource

from peer.base import config, logs, terminal
from peer.cli.output import name_home

if TYPE_CHECKING:  # they import slowly, and `peer --help` does not need them
    from crypto.identity import Identity
    from peer.audit.audit import Audit
    from peer.audit.run_lookup import RunLookup
    from peer.confinement.confined import Confiner
    from peer.engine.kubo.reach import AskedReach
    from peer.home.federations import StoredFederation
    from peer.home.home import Home
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases
    from peer.home.reader_choice import ReaderChoice
    from peer.replay.conditions import AuditedApp, Conditions, ReplayToCome

DEFAULT_HOME: Final = Path("~/.pollen")


def _enter_home(ctx: typer.Context, home: Path) -> Path:
    """Eager, because the defaults of the other options are in ``config.toml`` in the home."""
    is_given = ctx.get_parameter_source("home") is ParameterSource.COMMANDLINE
    name_home(str(home) if is_given else "")
    home = home.expanduser().absolute()
    ctx.default_map = config.read(home, ctx.find_root().command)
    return home


def _json_logs(asked: bool) -> bool:
    if asked:
        logs.write_json()
    return asked


def _whole_ids(asked: bool) -> bool:
    terminal.show_labels(not asked)
    return asked


class Whole(click.ParamType[str]):
    """A text that may be given several times. Click would split it at spaces if it came from a variable."""

    name = "text"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [rv]


HomeOption = Annotated[
    Path,
    typer.Option("--home", metavar="DIR", is_eager=True, callback=_enter_home, help="The peer's home folder."),
]
FullOption = Annotated[
    bool, typer.Option("--full", callback=_whole_ids, help="Show whole ids in place of their first characters.")
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", envvar="POLLEN_JSON", callback=_json_logs, help="Print one JSON object; logs go to stderr."),
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Read the key's passphrase from this file's first line."),
]
NewPassphraseFileOption = Annotated[
    Path | None,
    typer.Option("--new-passphrase-file", metavar="FILE", help="Read the new passphrase from this file's first line."),
]
NoPassphraseOption = Annotated[
    bool, typer.Option("--no-passphrase", help="Store the keys unlocked: anybody who reads the file can act as you.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to look for one block.")
]
OneRunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="latest, a run's name, or the first characters of its CID or head.")
]
HeadArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|FILE.car",
        help="latest, a run's name, the first characters of its CID or head, or a file with the run.",
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="[RUN|FILE.car]", help="latest, a run's name, or the first characters of its CID or head."),
]
TrustOption = Annotated[
    str | None,
    typer.Option(
        "--federation",
        metavar="ID|FILE",
        help="The root of trust: the federation that you expect, or its file.",
        show_default="the one that this home has joined",
    ),
]
MemberArgument = Annotated[str, typer.Argument(metavar="NAME", help="A member's name, or its did:key.")]
NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The identity; needed if there are several.", show_default=False),
]
FederationOption = Annotated[
    str | None,
    typer.Option("--federation", metavar="NAME", help="The federation; needed if this home is in several."),
]
IdentityOption = Annotated[
    str | None,
    typer.Option("--identity", metavar="NAME", help="The identity; needed if this home has several."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--ipfs",
        metavar="ENGINE",
        help="kubo (a node that belongs to this home), http://HOST:PORT or unix:SOCKET (your node), or local:DIR.",
        show_default="the last one that this home used, or kubo",
    ),
]
AddressOption = Annotated[
    list[str],
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="How others reach your engine, this time; repeat it for more addresses. See --announce.",
    ),
]

AllowReadOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-read",
        metavar="DIR",
        help="Let a confined app read this folder or file. It may always read its own files, those of --data-dir and "
        "--model, and those of its Python.",
    ),
]
AllowEnvOption = Annotated[
    list[str] | None,
    typer.Option("--allow-env", metavar="NAME", help="Let a confined app see this environment variable."),
]
AllowGpuOption = Annotated[bool, typer.Option("--allow-gpu", help="Let a confined app use graphics processors.")]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="The memory for all processes of a confined app, such as 8G.",
        show_default="half of the machine's",
    ),
]
MaxDiskOption = Annotated[
    str | None,
    typer.Option(
        "--max-disk",
        metavar="SIZE",
        help="The space for all files of a confined app, such as 20G.",
        show_default="half of what is free",
    ),
]
AppPythonOption = Annotated[
    str | None,
    typer.Option(
        "--app-python",
        metavar="COMMAND",
        help="The Python that runs the app, such as that of another environment with Pollen's requirements.",
        show_default="the one that runs this command",
    ),
]


def new_app(name: str | None = None, help: str | None = None) -> typer.Typer:
    """A typer app for the commands of a module. With ``help``, it is a command with subcommands."""
    return typer.Typer(
        name=name,
        help=help,
        no_args_is_help=help is not None,
        suggest_commands=False,  # click suggests them
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks can show local variables, and so secrets
    )


# -- groups --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a run is looked for, and whose keys open it."""

    ipfs: EngineOption = None
    timeout: TimeoutOption = 30.0
    identity: IdentityOption = None
    passphrase_file: PassphraseFileOption = None
    home: HomeOption = DEFAULT_HOME
    full: FullOption = False

    def lookup(self, *, needed: bool = True) -> RunLookup:
        """The lookup. ``needed`` says whether to ask for a passphrase."""
        from peer.audit.run_lookup import RunLookup
        from peer.cli.told_waits import TOLD_WAITS
        from peer.home.home import Home

        return RunLookup(Home(self.home), self.ipfs, self.reader(needed=needed), self.timeout, TOLD_WAITS)

    def reader(self, *, needed: bool) -> ReaderChoice:
        """The keys that the command may use."""
        from peer.home.passphrase import Passphrases
        from peer.home.reader_choice import ReaderChoice

        return ReaderChoice(self.identity, Passphrases.of_process(self.passphrase_file), needed=needed)


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The key store, and where passphrases come from."""

    passphrase_file: PassphraseFileOption = None
    home: HomeOption = DEFAULT_HOME

    def opened(self) -> tuple[KeyStore, Passphrases]:
        """The identities of the home, and the sources of their passphrases."""
        from peer.home.keystore import KeyStore
        from peer.home.passphrase import Passphrases

        return KeyStore(self.home), Passphrases.of_process(self.passphrase_file)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Which app a run is replayed with, how far, and what the app may do here."""

    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="The app to replay with.", show_default="built-in or approved"),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="For the app: where its dataset is.",
            show_default="built-in app: ~/.cache/pollen/datasets",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODULE:CLASS",
            help="Built-in app: the model class to allow here.",
            show_default="no class",
        ),
    ] = None
    to_round: Annotated[
        int | None,
        typer.Option(
            "--to-round", metavar="N", min=1, help="Replay to the end of this round.", show_default="the whole run"
        ),
    ] = None
    app_python: AppPythonOption = None
    unconfined: Annotated[
        bool, typer.Option("--unconfined", help="Let the app do whatever you may do, because you trust it.")
    ] = False
    allow_read: AllowReadOption = None
    allow_env: AllowEnvOption = None
    allow_gpu: AllowGpuOption = False
    max_memory: MaxMemoryOption = None
    max_disk: MaxDiskOption = None
    patience: Annotated[
        float | None,
        typer.Option(
            "--patience",
            metavar="SECONDS",
            min=0.1,
            help="How long the app may take for one step of the run.",
            show_default="600 s",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any of these options is given."""
        return any(getattr(self, field.name) != field.default for field in dataclasses.fields(self))

    def words(self) -> Iterator[str]:
        """These options as one types them, without those that were not given. Call it in the command that has them."""
        flags = {option.name: option.opts[0] for option in click.get_current_context().command.params}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for each in value if isinstance(value, list) else [value]:
                if each != field.default:
                    yield flags[field.name]
                    yield from () if each is True else (str(each),)

    def conditions(self, home: Home) -> Conditions:
        """Under which conditions the app runs.

        Raises:
            PeerError: if the app cannot be confined, or is in no folder.
        """
        from peer.apps.app_python import command_of_python
        from peer.audit.trusted_app import check_folder
        from peer.replay.conditions import Conditions

        conditions = Conditions(self.confiner(home), command_of_python(self.app_python))
        if self.app_dir is not None:
            check_folder(self.app_dir.expanduser().absolute())
        return conditions

    def to_come(self, audit: Audit, named: str, home: Home, conditions: Conditions) -> ReplayToCome:
        """The replay of the run ``named`` that follows its ``audit``: of the app in the folder after ``--app``; without
        that option, of the app that the run records, if it may run in ``home``."""
        from peer.audit.trusted_app import local_config, own_app, trusted_app
        from peer.home.journal import approved_apps
        from peer.replay.conditions import ReplayToCome

        config = local_config(self.data_dir, self.model)

        @cache
        def app() -> AuditedApp:
            if self.app_dir is not None:
                return own_app(self.app_dir, conditions, config)
            return trusted_app(audit, named, conditions, config, approved_apps(home))

        return ReplayToCome(conditions, app)

    def confiner(self, home: Home) -> Confiner | None:
        """What confines the app; None with ``--unconfined``.

        Raises:
            PeerError: if nothing on this machine can confine it.
        """
        from peer.base.errors import PeerError
        from peer.confinement.confined import confiner
        from peer.confinement.rules import PATIENCE, Grants

        if self.unconfined:
            bounds = self.max_memory or self.max_disk or self.patience
            if self.allow_read or self.allow_env or self.allow_gpu or bounds:
                raise PeerError(
                    "an app that is not confined needs nothing allowed, and has no bounds",
                    fix="leave out --unconfined, or the options --allow-..., --max-... and --patience",
                )
            return None
        from strategy.apps.builtin_app import default_data_folder

        datasets = default_data_folder() if self.app_dir is None else None
        data = [place for place in (self.data_dir, datasets) if place is not None and place.exists()]
        grants = Grants(
            read=absolute([*(self.allow_read or []), *data]),
            gpu=self.allow_gpu,
            variables=tuple(self.allow_env or ()),
            memory=bytes_of(self.max_memory, "--max-memory"),
            disk=bytes_of(self.max_disk, "--max-disk"),
            patience=PATIENCE if self.patience is None else self.patience,
        )
        return confiner(grants, home, self.model)


@dataclass(frozen=True, slots=True)
class ConfineOptions:
    """What the app of a running peer may do here."""

    confine: Annotated[
        bool,
        typer.Option(
            "--confine",
            help="Run the app without network, and with only the folders that it needs or that you allow.",
        ),
    ] = False
    allow_read: AllowReadOption = None
    allow_write: Annotated[
        list[Path] | None,
        typer.Option("--allow-write", metavar="DIR", help="Let a confined app read and write this folder."),
    ] = None
    allow_network: Annotated[bool, typer.Option("--allow-network", help="Let a confined app use the network.")] = False
    allow_env: AllowEnvOption = None
    allow_gpu: AllowGpuOption = False
    max_memory: MaxMemoryOption = None
    max_disk: MaxDiskOption = None

    def confiner(
        self, home: Home, *, read: Sequence[Path], write: Sequence[Path], model: str | None
    ) -> Confiner | None:
        """What confines the app, which also has to ``read`` and ``write`` these files; None without ``--confine``.

        Raises:
            PeerError: if nothing on this machine can confine it, or something is allowed without ``--confine``.
        """
        from peer.base.errors import PeerError
        from peer.confinement.confined import confiner
        from peer.confinement.rules import Grants

        if not self.confine:
            if any(getattr(self, field.name) != field.default for field in dataclasses.fields(self)):
                raise PeerError(
                    "--allow-... and --max-... are for a confined app, but this one may do whatever you may do",
                    fix="add --confine",
                )
            return None
        grants = Grants(
            read=absolute([*(self.allow_read or []), *read]),
            write=absolute([*(self.allow_write or []), *write]),
            network=self.allow_network,
            gpu=self.allow_gpu,
            variables=tuple(self.allow_env or ()),
            memory=bytes_of(self.max_memory, "--max-memory"),
            disk=bytes_of(self.max_disk, "--max-disk"),
        )
        return confiner(grants, home, model)


@dataclass(frozen=True, slots=True)
class ReachOptions:
    """Where the home's own node is reached."""

    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="IP[:PORT]",
            help="Where this home's own node listens for other members' nodes, from now on: IP:PORT, or ws://IP:PORT "
            "for WebSocket. Repeat it for more. Without a port it is a free one.",
            show_default="as before; 127.0.0.1 in a new home",
        ),
    ] = None
    announce: Annotated[
        list[str] | None,
        typer.Option(
            "--announce",
            metavar="HOST:PORT",
            help="Where others reach your node, from now on, if that is not where it listens: HOST:PORT, "
            "ws://HOST:PORT, wss://HOST (port 443), or a multiaddr. Repeat it for more; none takes all back.",
            show_default="as before; in a new home where it listens",
        ),
    ] = None
    announce_internal: Annotated[
        bool | None,
        typer.Option(
            "--announce-internal/--no-announce-internal",
            help="Tell others also the addresses that only your own network or machine can reach.",
            show_default="as before; no in a new home",
        ),
    ] = None

    def asked(self) -> AskedReach:
        """What the options say.

        Raises:
            PeerError: if an option is no address.
        """
        from peer.base.errors import PeerError
        from peer.engine.kubo.reach import AskedReach
        from protocol.wire.node_address import BadAddress

        try:
            return AskedReach.parse(self.listen or (), self.announce or (), self.announce_internal)
        except BadAddress as error:
            raise PeerError(
                f"that is no place to listen or to be reached: {error}",
                fix="give them as here: --listen 0.0.0.0:4001 --announce peers.hospital.org:4001, or with a web server "
                "in front: --listen ws://127.0.0.1:4002 --announce wss://peers.hospital.org",
            ) from error


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """Which identity of this home acts in which federation, over which engine."""

    ipfs: EngineOption = None
    identity: IdentityOption = None
    passphrase_file: PassphraseFileOption = None
    federation: FederationOption = None
    home: HomeOption = DEFAULT_HOME

    def stored(self) -> StoredFederation:
        """The federation, without opening what is encrypted in its manifest."""
        from peer.home.federations import FederationStore
        from peer.home.home import Home

        return FederationStore(Home(self.home)).current(self.federation)

    def unlocked(self, passphrases: Passphrases | None = None) -> tuple[Identity, StoredFederation]:
        """The identity with its keys, and the federation as this identity reads it."""
        from peer.home.federations import FederationStore
        from peer.home.home import Home
        from peer.home.keystore import KeyStore
        from peer.home.passphrase import Passphrases
        from peer.home.reader_choice import reader_of

        stored = self.stored()
        person = KeyStore(self.home).load(self.identity, passphrases or Passphrases.of_process(self.passphrase_file))
        return person, FederationStore(Home(self.home)).opened(stored, reader_of(person))


def absolute(places: Iterable[Path]) -> tuple[Path, ...]:
    """Places that the owner named."""
    return tuple(place.expanduser().absolute() for place in places)


def bytes_of(size: str | None, option: str) -> int | None:
    """What an option says that takes a size.

    Raises:
        PeerError: if it is not a size.
    """
    from peer.base.errors import ExitCode, PeerError
    from peer.confinement.rules import parse_size

    try:
        return None if size is None else parse_size(size)
    except ValueError as error:
        raise PeerError(f"{option}: {error}", fix=f"{option} 8G", code=ExitCode.WRONG_USE) from error


def load_identity(home: Path, name: str | None, passphrase_file: Path | None) -> Identity:
    """Unlock an identity of the home: the one called ``name``, or the only one."""
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

    return KeyStore(home).load(name, Passphrases.of_process(passphrase_file))


Returned = TypeVar("Returned")


def grouped(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """``command`` for typer, with the options of each group in place of the group."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def ungrouped(**values: Any) -> Returned:
        given = {name: _taken(group, values) for name, group in groups.items()}
        return command(**values, **given)

    ungrouped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # it is what typer reads
    ungrouped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return ungrouped


def _options(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(group)
    ]


def _taken(group: type, values: dict[str, Any]) -> object:
    return group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})


def verbose_option() -> click.Option:
    """``-v``, which every command has."""

    def show(_context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
        if asked:
            logs.show_more()

    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show all logs, and tracebacks.",
    )
