"""What a run record says of the machine, and how it differs from another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ENVIRONMENT, Scribe

from protocol.blocks.cid import decode_cbor, encode_cbor
from protocol.blocks.typed import to_plain
from protocol.federation.run_keys import read_private
from protocol.records.bodies import RunPrivate
from protocol.records.environment import (
    MAX_KERNELS,
    Kernel,
    Numerics,
    Package,
    differing,
    differing_versions,
)
from protocol.records.signed_records import RecordError

EARLIER = {
    "python": "3.11.9",
    "flwr": "1.41.0",
    "numpy": "2.2.0",
    "torch": "",
    "platform": "linux-x86_64",
    "cpu": "AVX2",
    "blas": "openblas",
    "gpu": "",
    "threads": 1,
}


def read(**changes: object) -> RunPrivate:
    """The run record of a test chain, with some of its private part changed."""
    body = Scribe().run()
    plain = decode_cbor(body.private)
    assert isinstance(plain, dict)
    private = read_private(replace(body, private=encode_cbor(plain | changes)), RunPrivate)
    assert private is not None
    return private


def test_a_run_of_an_earlier_format_is_read_and_was_native() -> None:
    environment = read(replay_format=2, environment=EARLIER).environment

    assert environment.numerics is Numerics.NATIVE
    assert environment.kernels == (Kernel("blas", "openblas"), Kernel("numpy", "AVX2"))
    assert (environment.version("flwr"), environment.version("torch")) == ("1.41.0", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": EARLIER},
        {"replay_format": 2},
        {"environment": to_plain(replace(ENVIRONMENT, kernels=(Kernel("a", "b"),) * (MAX_KERNELS + 1)))},
        {"environment": to_plain(replace(ENVIRONMENT, cpu="x" * 201))},
        {"environment": to_plain(ENVIRONMENT) | {"numerics": "fast"}},
        {"environment": to_plain(ENVIRONMENT) | {"threads": 0}},
    ],
    ids=["earlier", "todays in an earlier format", "many kernels", "long", "numerics", "threads"],
)
def test_an_environment_of_another_shape_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        read(**changes)


def test_a_difference_names_kernels_and_packages() -> None:
    now = replace(
        ENVIRONMENT,
        cpu="EPYC",
        kernels=(Kernel("numpy", "X86_V2 X86_V3"), *ENVIRONMENT.kernels[1:]),
        packages=(*ENVIRONMENT.packages[:2], Package("xgboost", "3.0")),
    )

    assert differing(ENVIRONMENT, now) == {
        "cpu": ("Intel Xeon", "EPYC"),
        "numpy kernel": ("X86_V2", "X86_V2 X86_V3"),
        "torch": ("2.15.0", ""),
        "xgboost": ("", "3.0"),
    }


def test_versions_are_those_of_python_and_the_packages() -> None:
    now = replace(ENVIRONMENT, python="3.12.0", cpu="EPYC", packages=ENVIRONMENT.packages[:2])

    assert differing_versions(ENVIRONMENT, now) == {"python": ("3.11.9", "3.12.0"), "torch": ("2.15.0", "")}
