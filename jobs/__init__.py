"""The commands: every one is python -m jobs.<name> with Hydra overrides."""

import signal
import sys

if sys.argv[0] == "-m":
    # A job's own imports take seconds, in which there is nothing to clean up: Ctrl-C just ends it.
    # From then on ``launch`` answers.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
