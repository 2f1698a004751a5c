"""A grading process: reads pairs of expressions from a socket, answers with algebra's outcome.

Started by ``pool`` as ``python -m s1ray.grading.worker FD DEADLINE MEMORY``, so that it shares
neither threads, nor imports, nor memory with whoever grades. It ends when its parent does: at once
where it waits, at the alarm where it computes.
"""

import resource
import signal
import sys
from multiprocessing.connection import Connection

from s1ray.grading.algebra import compare_expressions
from s1ray.grading.equivalence import AlgebraicPair

READY = b"ready"


def serve(connection: Connection, *, alarm_seconds: int) -> None:
    """Answer requests until the other end is closed.

    Args:
        connection: Receives lists of (gold, answer), sends outcomes.
        alarm_seconds: The process dies when one comparison takes this long; only a lost parent
            lets it come to that.
    """
    compare_expressions([AlgebraicPair(gold="1", answer="1")])
    connection.send_bytes(READY)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        signal.alarm(alarm_seconds)
        outcome = compare_expressions([AlgebraicPair(gold=g, answer=a) for g, a in request])
        signal.alarm(0)
        connection.send_bytes(outcome.value.encode())


def main() -> None:
    """Run with the arguments that ``pool`` gives."""
    descriptor, alarm_seconds, max_memory_bytes = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(Connection(descriptor), alarm_seconds=alarm_seconds)


if __name__ == "__main__":
    main()
