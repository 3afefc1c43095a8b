"""Inner loops are compiled everywhere."""

import numba

from realtime.flow import jit


def test_without_a_folder_for_the_cache_the_loops_are_compiled_anew(monkeypatch):
    real = numba.njit

    def njit(signature, cache, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(signature, **options)

    monkeypatch.setattr(jit.numba, "njit", njit)

    @jit.compiled("int64(int64)")
    def double(x):
        return 2 * x

    assert double(21) == 42
