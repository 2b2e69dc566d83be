"""vLLM's own API server, started in about half the time on a CPU: `python -m repoexpert.serving.entry FLAGS`.

On a CPU vLLM spawns its engine and its worker as fresh interpreters, one after the other, and each imports for about
20 s what the server has imported already: three imports in a row. Here a fork server imports the engine's modules once,
beside the server's own imports, and both processes are forked from there. vLLM has this for GPUs
(`VLLM_WORKER_MULTIPROC_METHOD=forkserver`); its CPU platform overrules the variable because OpenMP settings made after
the fork server has started would be lost. `vllm.environment` makes them before. REPOEXPERT_VLLM_START=stock turns this off.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os

_PRELOAD = ["vllm.v1.engine.core", "vllm.v1.executor.multiproc_executor", "vllm.v1.worker.cpu_worker"]


def main() -> None:
    """Serve until stopped; the flags are vLLM's."""
    if os.environ.get("VLLM_TARGET_DEVICE") == "cpu" and os.environ.get("REPOEXPERT_VLLM_START") != "stock":
        _use_fork_server()
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


def _use_fork_server() -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    multiprocessing.forkserver.ensure_running()
    # Before any module takes the function by name.
    from vllm.utils import system_utils

    system_utils.get_mp_context = lambda: context


if __name__ == "__main__":
    main()
