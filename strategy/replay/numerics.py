"""The portable numerical baseline: a ServerApp's libraries compute the same bits on each processor of a kind.

A numerical library chooses its kernels for the processor it finds, and two kernels round differently: a sum has another
order, a multiplication and an addition become one. So under `Numerics.PORTABLE` each library is held to what every
x86-64 processor of the last ten years has (SSE4.2), or every aarch64 one (Advanced SIMD), on the processor alone.

Each variable stands with who documents it. What they do was measured: under them the functions of libm, and some 450
functions of numpy, scipy, scikit-learn and torch, give the same bits here (AVX-512) as on emulated processors from
Nehalem on (`tests/strategy/replay/test_portable_numerics.py`), and those on an emulated Cortex-A57 as with SVE2
(`tests/strategy/replay/test_aarch64_numerics.py`). docs/decisions/0021-portable-numbers.md says what was measured of
jax, TensorFlow, numba and others, whose variables are here too.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

from protocol.records.environment import Numerics

NUMERICS_VARIABLE: Final = "POLLEN_APP_NUMERICS"
"""It tells an app process which numerics it runs under."""

THREADS: Final = (
    "OMP_NUM_THREADS",  # OpenMP: torch, scikit-learn, xgboost
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Each says how many threads a library may use. The number changes the bits of sums."""

_ANY_MACHINE: Final = {
    "OMP_DYNAMIC": "FALSE",  # as many threads as are said, and no fewer: OpenMP 5.2, section 21.2.1
    "MKL_DYNAMIC": "FALSE",  # the same: oneMKL Developer Guide, "Intel MKL-specific environment variables"
    "ATEN_CPU_CAPABILITY": "default",  # torch: aten/src/ATen/native/cpu/README.md
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",  # oneDNN: "Floating-point math mode"; no bfloat16 in place of float32
    "TORCHDYNAMO_DISABLE": "1",  # torch.compile does nothing: it would compile for this processor
    "NUMBA_CPU_NAME": "generic",  # numba: "Environment variables", compilation options
    "NUMBA_CPU_FEATURES": "",
    "CUDA_VISIBLE_DEVICES": "",  # no GPU: another machine has none, or another one
    "HIP_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # torch.use_deterministic_algorithms asks for it
    "TF_ENABLE_ONEDNN_OPTS": "0",  # TensorFlow: its own start message
    "NPY_ENABLE_CPU_FEATURES": "",  # numpy takes only one of the two
}

_X86_64: Final = {
    # glibc: manual, "Hardware capability tunables". Its exp, log, pow, sin and others use FMA if the processor has it.
    # The names with _Usable are those of glibc before 2.33; each version passes over names that it does not know.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX2_Usable,-FMA_Usable,-FMA4_Usable",
    # numpy: "CPU build options", runtime dispatch. The first four are all that numpy 2.4 and newer have beyond their
    # baseline, the others are those of the versions before. numpy passes over what its build does not dispatch. If its
    # build has one in its baseline, that build is for few processors, and numpy refuses to be imported.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_KNL "
    "AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL",
    "OPENBLAS_CORETYPE": "Nehalem",  # OpenBLAS: README, "Setting the number of threads and the core type"
    "MKL_CBWR": "COMPATIBLE",  # oneMKL: "Conditional numerical reproducibility"; the one branch for all makers
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",  # the same guide
    # oneMKL's vector functions (torch's sqrt, log, tan, asin) begin with rsqrtps and rcpps, whose low bits each maker
    # chooses for itself, in all variants but the plain SSE2 one. No documented setting picks that one; this one does.
    "MKL_VML_DEBUG_CPU_TYPE": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",  # oneDNN: "CPU dispatcher control"
    "DNNL_MAX_CPU_ISA": "SSE41",  # the same before version 3
    # XLA (jax, TensorFlow): its flags' documentation
    "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2 --xla_cpu_multi_thread_eigen=false",
}

_AARCH64: Final = {
    # The C library needs nothing here: FMA is in every aarch64 processor, and glibc has one variant of each function.
    "NPY_DISABLE_CPU_FEATURES": "ASIMDHP ASIMDDP ASIMDFHM SVE",  # all that numpy 2.4 has beyond its baseline
    "OPENBLAS_CORETYPE": "ARMV8",
    # torch's BLAS is NVIDIA's NVPL here, which documents no setting for its kernels. This one picks "Generic ASIMD".
    "NVPL_BLAS_DEBUG_CPU_TYPE": "1",
    "ONEDNN_MAX_CPU_ISA": "ADVANCED_SIMD",  # oneDNN: src/cpu/aarch64/cpu_isa_traits.hpp
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}

_BY_MACHINE: Final[Mapping[str, dict[str, str]]] = {"x86_64": _X86_64, "aarch64": _AARCH64}


def numeric_variables(numerics: Numerics, threads: int, machine: str) -> dict[str, str]:
    """The environment variables under which an app process computes.

    Args:
        threads: How many threads each numerical library may use.
        machine: The processor's architecture, as `platform.machine` says it. Another one than x86_64 and aarch64 has no
            baseline of its own: there, what holds for any machine is set.
    """
    variables = {NUMERICS_VARIABLE: numerics.value} | dict.fromkeys(THREADS, str(threads))
    match numerics:
        case Numerics.PORTABLE:
            return variables | _ANY_MACHINE | _BY_MACHINE.get(machine, {})
        case Numerics.NATIVE:
            return variables


def numerics_in_force() -> Numerics:
    """Under which numerics this app process was started."""
    return Numerics(os.environ.get(NUMERICS_VARIABLE, Numerics.NATIVE))


def settle_torch() -> None:
    """Have torch, if it is imported, compute the same on each machine; what no variable says.

    Operations that have a deterministic algorithm use it. One that has none runs, and torch warns in the app's log:
    with one thread and no GPU its order is fixed all the same. Memory that nobody has written holds NaN.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.nnpack.set_flags(False)  # NNPACK takes part only if the processor has AVX2
        if platform.machine() == "aarch64":
            # oneDNN has Arm's Compute Library do the work there, which looks at the processor and takes no setting:
            # float32 dot products differ, and float16 matrices multiply on some processors alone.
            torch.backends.mkldnn.set_flags(False)
