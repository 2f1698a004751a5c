"""A grading process: reads pairs of expressions from a socket, answers with algebra's outcome.

Started by ``pool`` as ``python -m s1ray.grading.worker FD DEADLINE WALL MEMORY``, so that it shares
neither threads, nor imports, nor memory with whoever grades. It keeps its own deadline, and ends
when its parent does: at once where it waits, at the deadline where it computes.
"""

import resource
import signal
import sys
from multiprocessing.connection import Connection

from s1ray.grading.algebra import compare_expressions
from s1ray.grading.equivalence import AlgebraicPair

READY = b"ready"


def serve(connection: Connection, *, deadline_seconds: float, wall_seconds: float) -> None:
    """Answer requests until the other end is closed.

    Args:
        connection: Receives lists of (gold, answer), sends outcomes.
        deadline_seconds: Processor time of one comparison; the process dies of SIGPROF at its end.
        wall_seconds: Time of one comparison by the clock; the process dies of SIGALRM. The parent
            kills it then, too, but it may be gone.
    """
    compare_expressions([AlgebraicPair(gold="1", answer="1")])
    connection.send_bytes(READY)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, deadline_seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_seconds)
        outcome = compare_expressions([AlgebraicPair(gold=g, answer=a) for g, a in request])
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send_bytes(outcome.value.encode())


def main() -> None:
    """Run with the arguments that ``pool`` gives."""
    descriptor, deadline_seconds, wall_seconds, max_memory_bytes = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (int(max_memory_bytes), int(max_memory_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(
        Connection(int(descriptor)),
        deadline_seconds=float(deadline_seconds),
        wall_seconds=float(wall_seconds),
    )


if __name__ == "__main__":
    main()
